"""Whether a program changes numbers that it holds, which a graph of it would keep."""

from typing import Any


class NumbersHeld:
    """The numbers that objects hold as attributes, or in lists and dictionaries that are attributes, as they are now.

    Args:
        objects: the objects.
    """

    def __init__(self, *objects: Any) -> None:
        self._objects = objects
        self._now = [_numbers_of(each) for each in objects]

    def check_unchanged(self) -> None:
        """Make sure that none has become another number since: a graph would keep it.

        Raises:
            RuntimeError: if one has.
        """
        for each, before in zip(self._objects, self._now, strict=True):
            for name, number in _numbers_of(each).items():
                if name in before and number != before[name]:
                    raise RuntimeError(
                        f"{name} of {type(each).__name__} changes from call to call, and is no tensor: make it a buffer"
                    )


def _numbers_of(held: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in vars(held).items():
        inside = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
        found |= {f"{name}[{key!r}]": number for key, number in inside if isinstance(number, int | float)}
        if isinstance(value, int | float):
            found[name] = value
    return found
