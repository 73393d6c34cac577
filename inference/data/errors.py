"""What every failure to read data is, and texts of others in it."""


class DataError(RuntimeError):
    """A data set is unavailable, damaged or not understood; the message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(" ".join(message.splitlines())))  # names of files may hold anything


def visible(text: str) -> str:
    """A text whose control characters are written as in Python's strings."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":")[:200]
