"""What every failure to read data is."""


class DataError(RuntimeError):
    """A data set is unavailable, damaged or not understood; the message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # names of files may hold anything


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(":")[:200]
