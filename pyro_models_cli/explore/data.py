"""The test data of a page."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from inference import DataSet
from pyro_models_cli.explore.values import Constants


@dataclass(frozen=True)
class Shown:
    """Some test data, and how a page shows them.

    Args:
        set: the data.
        count: number of observations that go into the page.
    """

    set: DataSet
    count: int = 100

    def arguments(self, count: int) -> tuple[Tensor, ...]:
        """The first observations as the programs see them, in single precision, and labels if the programs see any."""
        x, *labels = self.set.arguments(slice(count))
        return x.float(), *labels

    def content(self, constants: Constants, codes: int = 1000) -> dict[str, Any]:
        """Shape, pixels or numbers, and labels."""
        data: Any = self.set
        labels = getattr(data, "labels", None)
        conditional = len(self.arguments(1)) > 1
        shared = {
            "shape": list(data.shape),
            "labels": None if labels is None else labels[:codes].tolist(),
            "conditional": conditional,
            "classes": data.num_classes if conditional else 0,
        }
        if len(data.shape) == 3:
            pixels = data.pixels[: self.count]
            return {
                **shared,
                "pixels": constants.add(pixels),
                "shown": len(pixels),
                "levels": data.levels,
                "binarisation": data.binarisation,
            }
        vectors = self.arguments(codes)[0]
        return {**shared, "vectors": constants.add(vectors), "shown": len(vectors)}
