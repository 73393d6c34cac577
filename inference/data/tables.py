"""Vectors that come with scikit-learn: generated ones in two dimensions, and small tables of measurements."""

from collections.abc import Callable

import numpy as np
import torch

from inference.data.vectors import Vectors

_TRAIN, _TEST = 10_000, 2_000  # points


def moons() -> tuple[Vectors, Vectors]:
    """Two half circles of radius 1 that interlock, with normal noise of standard deviation 0.1; two classes."""
    from sklearn.datasets import make_moons

    return _generated("moons", lambda count, seed: make_moons(count, noise=0.1, random_state=seed))


def circles() -> tuple[Vectors, Vectors]:
    """Two circles of radius 1 and 0.5, with normal noise of standard deviation 0.05; two classes."""
    from sklearn.datasets import make_circles

    return _generated("circles", lambda count, seed: make_circles(count, noise=0.05, factor=0.5, random_state=seed))


def swiss_roll() -> tuple[Vectors, Vectors]:
    """A spiral, the first and third coordinate of the roll, with normal noise of standard deviation 0.5; no labels."""
    from sklearn.datasets import make_swiss_roll

    def spiral(count: int, seed: int) -> tuple[np.ndarray, None]:
        return make_swiss_roll(count, noise=0.5, random_state=seed)[0][:, [0, 2]], None

    return _generated("swiss_roll", spiral)


def wine() -> tuple[Vectors, None]:
    """178 wines of three growers, 13 measurements of each."""
    from sklearn.datasets import load_wine

    return _vectors("wine", *load_wine(return_X_y=True)), None


def breast_cancer() -> tuple[Vectors, None]:
    """569 tumours, malignant (0) or benign (1), 30 measurements of each."""
    from sklearn.datasets import load_breast_cancer

    return _vectors("breast_cancer", *load_breast_cancer(return_X_y=True)), None


TABLES: dict[str, Callable[[], tuple[Vectors, Vectors | None]]] = {
    "moons": moons,
    "circles": circles,
    "swiss_roll": swiss_roll,
    "wine": wine,
    "breast_cancer": breast_cancer,
}
GENERATED = ("moons", "circles", "swiss_roll")


def _generated(name: str, draw: Callable[[int, int], tuple[np.ndarray, np.ndarray | None]]) -> tuple[Vectors, Vectors]:
    return _vectors(f"{name} train", *draw(_TRAIN, 0)), _vectors(f"{name} test", *draw(_TEST, 1))


def _vectors(name: str, values: np.ndarray, labels: np.ndarray | None) -> Vectors:
    values = np.ascontiguousarray(values, dtype=np.float64)
    return Vectors(
        name, torch.from_numpy(values), None if labels is None else torch.from_numpy(labels.astype(np.int64))
    )
