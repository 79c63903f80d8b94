"""How a stage reports its progress."""

from collections.abc import Callable

# Called with the steps done, the steps in all and, where a stage can tell, the tokens read so far.
Progress = Callable[..., None]
