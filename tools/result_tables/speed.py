"""Tables of what the benchmarks measured."""

from typing import Any

from result_tables.words import machine_of, markdown


def bench_table(bench: dict[str, Any]) -> str:
    caption = (
        "Time of this project, as a long run of `fit` takes it, as a share of another program's, timed side by "
        "side: medians, and the quartiles of the ratios over repeats; the goals were set beforehand. At its best a "
        f"program is compiled, with the fused Adam and the faster library of matrix products ({machine_of(bench)}). "
        "The program with a DataLoader measures the training set after the epoch too:"
    )
    header = ("work", "this project", "other program", "ms", "ms of the other", "ratio", "goal")
    rows = [
        (
            row["name"],
            row["ours"],
            row["other"],
            *(f"{1000 * row[seconds]:,.1f}" for seconds in ("ours_seconds", "other_seconds")),
            f"**{row['ratio']:.2f}** ({' to '.join(f'{value:.2f}' for value in row['ratio_quartiles'])})",
            "" if row["goal"] is None else f"{row['goal']:.2f}",
        )
        for row in bench["rows"]
    ]
    return markdown(caption, header, rows)


def scaling_table(bench: dict[str, Any]) -> str:
    """What several processes were measured to do, and what that predicts for more."""
    group = next(group for group in bench["groups"] if "predictions" in group)
    seconds = {name: entry["milliseconds"] / 1000 for name, entry in group["programs"].items()}
    alone = seconds["1 process, 1 thread"]
    measured = [(name, f"{value:.2f}", f"{alone / value:.2f}") for name, value in sorted(seconds.items())]
    predicted = [
        (name, step, *(f"{entry[key]:.2g}" for key in ("step_ms", "all_reduce_ms", "speed_up")))
        for name, steps in group["predictions"].items()
        for step, entry in steps.items()
    ]
    step = (
        f"A step takes {group['step_ms']:.1f} ms in one process; two sum their {group['parameters']:,} gradients in "
        f"{group['all_reduce_ms']:.1f} ms."
    )
    header = ("processes", "a step", "step, ms", "all-reduce, ms", "speed-up")
    parts = (
        markdown(f"Measured, {group['what']} ({machine_of(bench)}):", ("", "seconds", "speed-up"), measured),
        step,
        markdown("Computed, for a step as fast as the measured one and for faster ones:", header, predicted),
    )
    return "\n\n".join(parts)


def growth_table(record: dict[str, Any]) -> str:
    """What grows with what, and how fast."""
    rows = []
    for curve in record["curves"]:
        first, last = curve["points"][0], curve["points"][-1]
        seconds = " to ".join(f"{1000 * point['seconds']:,.1f}" for point in (first, last))
        memory = " to ".join(f"{point['peak_mb'] - point['held_mb']:,.0f}" for point in (first, last))
        sizes = f"{first['size']:,} to {last['size']:,} {curve['size']}"
        rows.append((curve["what"], sizes, seconds, f"**{curve['slope']:.2f}**", f"{curve['steepest']:.2f}", memory))
    header = ("work", "from, to", "time, ms", "slope", "steepest", "peak memory without the data, MB")
    caption = (
        "Time from the smallest to the largest size, the slope of its logarithm against that of the work, over all "
        f"sizes and between the two neighbours where it is steepest, and peak memory ({machine_of(record)}):"
    )
    figure = '<img src="../results/growth.png" width="860" alt="time and peak memory against the size of the work">'
    return "\n\n".join([figure, markdown(caption, header, rows), f"Command: `{record['command']}`"])


def dragging_line(record: dict[str, Any]) -> str:
    """How fast a page answers while its map is dragged."""
    vae, frames, browser = record["vae"], record["frames"], record["browser"]
    return (
        f"The map of a VAE of {vae} units, dragged for {frames} frames in {browser} without a GPU: a frame takes "
        f"**{record['processor_milliseconds']:.1f} ms** of the page's thread, where 60 frames per second leave 16.7. "
        f"{record['frames_per_second']:.0f} frames per second were shown, at a load of {record['load']:.1f} processes "
        f"a core ({machine_of(record)})."
    )
