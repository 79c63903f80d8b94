"""How a stage reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """Called with the steps done, the steps in all and, where a stage knows it, the number of tokens read so far."""

    def __call__(self, done: int, total: int, /, *tokens: int) -> None:
        """Report that many of the steps are done."""
