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


def flow_content(pair: Pair, data: Shown, constants: Constants) -> dict[str, Any]:
    """Graphs of the whole flow, or, on a plane, of each of its transforms.

    Raises:
        RunError: if a transform cannot be put on a page.
    """
    model: Any = pair.model
    _, *labels = data.arguments(1)
    flow = distribution_of(model, *labels)
    event, base = flow.event_shape, flow.base_dist.event_shape
    of = partial(distribution_of, model) if labels else lambda: flow
    make = partial(exported, modules=[model, pair.guide], constants=constants, what="the flow")
    if event == (2,):
        examples = [torch.zeros(POINTS, 2), *(label.expand(POINTS) for label in labels)]
        forward, inverse = (
            make(lambda points, *labels, back=back: stops(of(*labels), back, points), examples=examples)
            for back in (False, True)
        )
        names = [_name(transform) for transform in flow.transforms]
        both = zip(names, _steps(forward), _steps(inverse)[::-1], strict=True)
        steps = [{"name": name, "forward": there, "inverse": back} for name, there, back in both]
        return {"kind": "plane", "points": POINTS, "steps": steps, "log_det": float(data.set.log_det)}
    noise, y = torch.zeros(1, *base), torch.full((1, *event), 0.5)
    graphs: dict[str, Graph] = {
        "forward": make(lambda e, *labels: of(*labels).from_base_with_log_det(e), examples=[noise, *labels]),
        "inverse": make(lambda y, *labels: of(*labels).to_base(y), examples=[y, *labels]),
    }
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


def distribution_of(model: Any, *labels: Tensor) -> FlowDistribution:
    """The distribution of a flow's model, given labels if it depends on them.

    Raises:
        RunError: if it is of another kind.
    """
    found = model.intensities(*labels) if hasattr(model, "intensities") else model.density(*labels)
    if not isinstance(found, FlowDistribution):
        raise RunError(f"explore knows flows of this package; this one is a {type(found).__name__}")
    return found
