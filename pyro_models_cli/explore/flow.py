"""What a page needs of a flow: its maps between noise and data as graphs."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from inference import Pair, RunError
from pyro_models.flows import FlowDistribution
from pyro_models.transforms.bijector import forward_and_log_det, inverse_and_log_det
from pyro_models_cli.explore.data import Shown
from pyro_models_cli.explore.graph import Graph, exported, part_of
from pyro_models_cli.explore.values import Constants

POINTS = 256  # of a plane that one run of a graph maps


def flow_content(flow: FlowDistribution, pair: Pair, data: Shown, constants: Constants) -> dict[str, Any]:
    """Graphs of the whole flow, or, on a plane, of each of its transforms.

    Raises:
        RunError: if a transform cannot be put on a page.
    """
    event, base = flow.event_shape, flow.base_dist.event_shape
    make = partial(exported, modules=[pair.model, pair.guide], constants=constants)
    if event == (2,):
        forward, inverse = (
            make(partial(stops, flow, back), examples=[torch.zeros(POINTS, 2)]) for back in (False, True)
        )
        names = [_name(transform) for transform in flow.transforms]
        both = zip(names, _steps(forward), _steps(inverse)[::-1], strict=True)
        steps = [{"name": name, "forward": there, "inverse": back} for name, there, back in both]
        return {"kind": "plane", "points": POINTS, "steps": steps, "log_det": float(data.set.log_det)}
    examples = {"forward": torch.zeros(1, *base), "inverse": torch.full((1, *event), 0.5)}
    maps = {"forward": flow.from_base_with_log_det, "inverse": flow.to_base}
    graphs: dict[str, Graph] = {name: make(maps[name], examples=[examples[name]]) for name in maps}
    return {"kind": "flow", "size": base.numel(), "graphs": graphs, "log_det": float(data.set.log_det)}


def stops(flow: FlowDistribution, back: bool, points: Tensor) -> tuple[Tensor, ...]:
    """Where points (N, 2) are after each transform, or each inverse from the last on, and its log-determinant (N,)."""
    found: list[Tensor] = []
    for transform in flow.transforms[::-1] if back else flow.transforms:
        points, log_det = (inverse_and_log_det if back else forward_and_log_det)(transform, points)
        found += [points, log_det if log_det.dim() == 1 else log_det.sum(-1)]
    return tuple(found)


def _steps(graph: Graph) -> list[Graph]:
    """The graph of :func:`stops` as one graph for each transform."""
    start, *ends = [graph.inputs[0], *graph.outputs[::2]]
    pairs = zip([start, *ends], zip(ends, graph.outputs[1::2], strict=True), strict=False)
    return [part_of(graph, before, after) for before, after in pairs]


def _name(transform: Any) -> str:
    part = transform if isinstance(transform, torch.nn.Module) else transform.inv
    return type(part if isinstance(part, torch.nn.Module) else transform).__name__


def distribution_of(model: Any) -> FlowDistribution:
    """The distribution of a flow's model.

    Raises:
        RunError: if it depends on a label.
    """
    if model.num_classes:
        raise RunError("explore does not know flows that depend on a label yet")
    found = model.intensities() if hasattr(model, "intensities") else model.density()
    if not isinstance(found, FlowDistribution):
        raise RunError(f"explore knows flows of this package; this one is a {type(found).__name__}")
    return found
