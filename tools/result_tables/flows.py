"""Tables of flows."""

from pathlib import Path
from typing import Any

from result_tables.words import machine_of, markdown, over_images, part_text, read


def flows_in(results: Path) -> list[dict[str, Any]]:
    """Records of all flows, the best last."""
    flows = [read(file) for file in results.glob("realnvp_*_mnist.json")]
    return sorted(flows, key=lambda flow: -flow["bits_per_dim"]["8"]["value"])


def best_flows(results: Path) -> list[dict[str, Any]]:
    """The best record of every kind of flow, the best last."""
    best = {flow["pair"]["model"]["init_args"]["flow"]["class_path"]: flow for flow in flows_in(results)}
    return sorted(best.values(), key=lambda flow: -flow["bits_per_dim"]["8"]["value"])


def flow_table(flows: list[dict[str, Any]]) -> str:
    caption = (
        f"RealNVP on MNIST, bits per dimension, {flows[0]['num_test_images']:,} test images with 256 grey levels: the "
        "importance-weighted bound with 1 and with 8 samples of the dequantisation noise, ± standard error over images:"
    )
    rows = [
        (
            part_text(flow["pair"]["model"]["init_args"]["flow"]),
            part_text(flow["pair"]["guide"]),
            f"{flow['minutes']:.0f} ({machine_of(flow)})",
            over_images(flow["bits_per_dim"]["1"]),
            f"**{over_images(flow['bits_per_dim']['8'])}**",
        )
        for flow in flows
    ]
    return markdown(caption, ("flow", "dequantisation", "minutes", "1 sample", "8 samples"), rows)
