"""What running code can tell about the graph being recorded of it."""

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode


def draws_recorded() -> int:
    """The number of random operations in the graph being recorded; 0 if none is."""
    mode = get_proxy_mode()
    nodes = [] if mode is None else list(mode.tracer.graph.nodes)
    return sum(torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) for node in nodes)
