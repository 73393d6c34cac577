"""Arguments of public functions that go by another name now."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def renamed(**new_names: str) -> Callable[[F], F]:
    """Keep a function's old argument names working, with a ``DeprecationWarning``.

    Example:
        >>> import warnings
        >>> warnings.simplefilter("ignore")
        >>> @renamed(images="data")
        ... def count(data):
        ...     return len(data)
        >>> count(images=[1, 2])
        2
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            for old in new_names.keys() & kwargs.keys():
                message = f"argument {old} of inference.{function.__name__} is deprecated: it is {new_names[old]} now"
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                kwargs[new_names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return cast(F, called)

    return decorate
