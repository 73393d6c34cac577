"""The curves of a record of growth as a figure."""

from typing import Any

from inference.figures.style import Figure, styled


def growth_figure(record: dict[str, Any]) -> Figure:
    """Time and peak memory without the data held, against the work; time and work as multiples of the smallest."""
    with styled():
        figure = Figure((8.6, 4.6))
        time, memory = figure.subplots(1, 2)
        largest = 1.0
        for curve in record["curves"]:
            points, first = curve["points"], curve["points"][0]
            work = [point["work"] / first["work"] for point in points]
            seconds = [point["seconds"] / first["seconds"] for point in points]
            beside_data = [point["peak_mb"] - point["held_mb"] for point in points]
            time.plot(work, seconds, marker="o", markersize=3, label=f"{curve['what']}, by {curve['size']}")
            memory.plot(work, beside_data, marker="o", markersize=3)
            largest = max(largest, *work)
        time.plot([1, largest], [1, largest], color="grey", linestyle="--", linewidth=1, label="proportional", zorder=0)
        time.set(xscale="log", yscale="log", xlabel="work, times the smallest", ylabel="time, times the smallest")
        memory.set(xscale="log", xlabel="work, times the smallest", ylabel="peak memory without the data (MB)")
        memory.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", ncols=2)
    return figure
