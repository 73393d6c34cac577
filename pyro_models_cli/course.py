"""Where to find the chapters of the course."""

import os
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from urllib.parse import quote

CHAPTERS = {
    "01_elbo": "The evidence lower bound",
    "02_vae": "The variational autoencoder",
    "04_importance_weights": "Importance weights",
    "06_swapping_parts": "Priors and guides that swap",
    "07_posterior_collapse": "Posterior collapse",
    "08_change_of_variables": "Change of variables",
    "09_integer_pixels": "Pixels are integers",
    "10_trust_your_numbers": "Trust your numbers",
}
_CHECKOUT = Path(__file__).parents[1]


def published_at() -> str | None:
    """The address of the published site: the URL called Documentation in pyproject.toml, if there is one."""
    try:
        urls = metadata("pyro-models").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    return dict(url.split(", ", 1) for url in urls).get("Documentation", "").rstrip("/") or None


def chapter_on(chapter: str, page: Path, site: Path | None = None) -> dict[str, str | None]:
    """The title of a chapter, and its address for a link on a page.

    The address is on the published site; without one, that of the file in this checkout, as built by ``make docs`` or
    else as text; None where there is neither.  A page that is part of a site, in this folder, links to it.
    """
    title = f"Chapter {int(chapter[:2])}, {CHAPTERS[chapter]}"
    if site is not None:
        return {"title": title, "address": _from(page.parent, site.resolve() / "tutorial" / f"{chapter}.html")}
    if (published := published_at()) is not None:
        return {"title": title, "address": f"{published}/tutorial/{chapter}.html"}
    built = _CHECKOUT / "docs" / "_build" / "html" / "tutorial" / f"{chapter}.html"
    found = next((file for file in (built, _CHECKOUT / "tutorial" / f"{chapter}.md") if file.is_file()), None)
    return {"title": title, "address": None if found is None else _from(page.parent, found)}


def _from(folder: Path, file: Path) -> str | None:
    try:
        return quote(Path(os.path.relpath(file, folder.resolve())).as_posix())
    except ValueError:  # on another drive
        return None
