"""Import torchvision beside a CPU-only torch.

torchvision's Linux wheel is linked against CUDA.  With a CPU-only torch its compiled operators do
not load, and ``import torchvision`` fails at the first one that its Python code mentions.  Data sets
and image grids use none of them, so declaring their schemas is enough.  Where the two packages match,
the plain import succeeds and nothing here takes effect.
"""

import importlib
import sys
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # keeps them alive: the declarations vanish with their library


def import_torchvision() -> ModuleType:
    """The torchvision package, after declaring its missing operators if need be."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + schema)
    _libraries.append(library)
    return importlib.import_module("torchvision")
