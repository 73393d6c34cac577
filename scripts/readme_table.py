"""Write the table of results into README.md from results/*.json."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results: written by scripts/readme_table.py -->", "<!-- end of results -->"


def table(results: Path) -> str:
    """The results as Markdown."""
    source, vae, flow = (
        json.loads((results / f"{name}.json").read_text())
        for name in ("source_report", "vae_mnist", "realnvp_flip_mnist")
    )
    lines = [
        f"VAE on MNIST, nats per image, {vae['binarisation']} binarisation, {vae['num_test_images']:,} test images, "
        f"mean of {vae['repeats']} repeats ± standard error over repeats; trained in {vae['minutes']:.0f} minutes "
        f"({vae['machine']}):",
        "",
        "| | this project | source report |",
        "|---|---|---|",
        f"| negative ELBO | **{_with_error(vae['negative_elbo'], 3)}** | {source['negative_elbo']:.2f} |",
    ]
    lines += [
        f"| negative IWAE, m = {m} | **{_with_error(vae['negative_iwae'][m], 3)}** | {source['negative_iwae'][m]:.2f} |"
        for m in vae["negative_iwae"]
    ]
    lines += [
        "",
        f"RealNVP on MNIST (4 coupling and flip pairs), bits per dimension, {flow['num_test_images']:,} test images "
        f"with 256 grey levels, uniform dequantisation, mean of {flow['repeats']} repeats; trained in "
        f"{flow['minutes']:.0f} minutes ({flow['machine']}):",
        "",
        "| importance samples | bits per dimension |",
        "|---|---|",
    ]
    lines += [f"| {m} | **{_with_error(entry, 4)}** |" for m, entry in flow["bits_per_dim"].items()]
    lines += ["", "Commands:", "", "```bash"]
    for record in (vae, flow):
        lines += record["command"].split(" && ")
    return "\n".join([*lines, "```"])


def _with_error(entry: dict[str, Any], digits: int) -> str:
    return f"{entry['value']:.{digits}f} ± {entry['standard_error']:.{digits}f}"


def with_table(readme: str, text: str) -> str:
    """The README with its results replaced."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(), table(ROOT / "results")))
