"""Write a moving picture of a page of `pyro-models explore`: a drag over the map of codes, with the decoder live.

    python tools/explore_picture.py pretrained/vae_course

It needs Chromium and ``pip install -e '.[browser]'``.
"""

import argparse
import io
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from inference.system.files import write_whole
from pyro_models_cli.commands.explore import ExploreOptions, explore

ROOT = Path(__file__).parent.parent
LARGEST = 1_000_000  # bytes


def path(frames: int) -> list[tuple[float, float]]:
    """Places on the map, each from 0 to 1 across and down, along a closed curve that visits all sides of the middle."""
    turns = [2 * math.pi * frame / frames for frame in range(frames)]
    return [(0.5 + 0.3 * math.sin(turn), 0.5 + 0.3 * math.sin(2 * turn + 0.6)) for turn in turns]


def shots(page: Any, frames: int) -> Iterator[Image.Image]:
    """The map and the decoded picture while the mouse drags along the path."""
    both = page.locator(".pair").first
    # as large as fits beside the map
    both.locator(".picture").evaluate("picture => { picture.style.width = '18rem'; }")
    both.scroll_into_view_if_needed()
    clip, box = both.bounding_box(), page.locator(".map").first.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path(frames)]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places:
        page.mouse.move(*place)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        yield Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    page.mouse.up()


def filmed(file: Path, frames: int) -> list[Image.Image]:
    """The frames of a page, in Chromium without a network."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 680, "height": 900}, color_scheme="light", offline=True)
        page.goto(f"file://{file.resolve()}")
        found = list(shots(page, frames))
        browser.close()
    return found


def write(pictures: Sequence[Image.Image], out: Path, rate: int) -> None:
    """An animation that repeats for ever.

    Raises:
        ValueError: if it has more bytes than a README should make its readers load.
    """
    file = io.BytesIO()
    first, *others = pictures
    shown = {"save_all": True, "append_images": others, "duration": 1000 // rate, "loop": 0}
    first.save(file, "WEBP", lossless=True, method=4, minimize_size=True, **shown)
    if file.tell() > LARGEST:
        raise ValueError(f"the picture has {file.tell():,} bytes, more than {LARGEST:,}: take fewer --frames")
    write_whole(out, file.getvalue())
    print(f"{out}: {len(pictures)} frames, {file.tell():,} bytes")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=ROOT / "pretrained" / "vae_course", help="folder of a VAE")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "explore.webp", help="picture to write")
    parser.add_argument("--frames", type=int, default=60, help="number of frames")
    parser.add_argument("--rate", type=int, default=15, help="frames per second")
    given = parser.parse_args(argv)
    if given.frames < 1 or not 1 <= given.rate <= 1000:
        parser.error(f"expected at least 1 frame, and a rate from 1 to 1000; got {given.frames} and {given.rate}")
    with tempfile.TemporaryDirectory() as folder:
        page = explore([given.run], ExploreOptions(out=str(Path(folder) / "explore.html")))
        write(filmed(page, given.frames), given.out, given.rate)


if __name__ == "__main__":
    main()
