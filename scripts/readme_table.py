"""Write the table of results into README.md from results/*.json."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results: written by scripts/readme_table.py -->", "<!-- end of results -->"


def table(results: Path) -> str:
    """The results as Markdown."""
    source, vae = (_read(results / f"{name}.json") for name in ("source_report", "vae_mnist"))
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
    flows = [_read(file) for file in results.glob("realnvp_*_mnist.json")]
    flows.sort(key=lambda flow: -flow["bits_per_dim"]["8"]["value"])
    lines += [
        "",
        f"RealNVP on MNIST, bits per dimension, {flows[0]['num_test_images']:,} test images with 256 grey levels: the "
        "importance-weighted bound with 1 and with 8 samples of the dequantisation noise, ± standard error over "
        "images:",
        "",
        "| flow | dequantisation | minutes | 1 sample | 8 samples |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {_part(flow['pair']['model']['init_args']['flow'])} | {_part(flow['pair']['guide'])} | "
        f"{flow['minutes']:.0f} ({flow['machine']}) | {_over_images(flow['bits_per_dim']['1'])} | "
        f"**{_over_images(flow['bits_per_dim']['8'])}** |"
        for flow in flows
    ]
    bench = _read(results / "bench_flows.json")
    group = bench["groups"][0]
    lines += [
        "",
        f"One training step, {group['what']}: median milliseconds and ratio to the fastest other library in float32 "
        f"({bench['machine']}):",
        "",
        "| | ms | ratio |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {entry['milliseconds']:.1f} | {entry['ratio']:.2f} |"
        for name, entry in sorted(group["programs"].items(), key=lambda item: item[1]["milliseconds"])
    ]
    lines += ["", "Commands:", "", "```bash"]
    for record in (vae, *flows):
        lines += record["command"].split(" && ")
    lines.append(bench["command"])
    return "\n".join([*lines, "```"])


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def _part(description: dict[str, Any]) -> str:
    """A part's name and those of its options that a person would choose it by."""
    name = description["class_path"].rpartition(".")[2]
    options = description["init_args"]
    shown = ("pairs", "layers", "scales", "couplings", "hidden", "channels", "blocks")
    kept = [f"{key} {options[key]}" for key in shown if key in options]
    kept += ["given the label"] if options.get("context") else []
    return ", ".join([f"`{name}`", *kept])


def _with_error(entry: dict[str, Any], digits: int) -> str:
    return f"{entry['value']:.{digits}f} ± {entry['standard_error']:.{digits}f}"


def _over_images(entry: dict[str, Any]) -> str:
    return f"{entry['value']:.3f} ± {entry['standard_error_over_images']:.3f}"


def with_table(readme: str, text: str) -> str:
    """The README with its results replaced."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(), table(ROOT / "results")))
