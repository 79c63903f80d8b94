"""The callback through which a stage reports its progress."""

from collections.abc import Callable

# Called with the steps done, the total number of steps and, if the stage knows it, the number of tokens read so far.
Progress = Callable[..., None]
