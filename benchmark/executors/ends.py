"""How one attempt at a stage ended, wherever it ran."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class End:
    """How an attempt at a stage ended.

    `kind` is "done"; "mistake", the user's, as the stage said itself; "memory", its limit was reached;
    "infrastructure", which is tried again: it was killed, hung, or lost with what it ran on; "failure", a defect.
    """

    kind: Literal["done", "mistake", "memory", "infrastructure", "failure"]
    reason: str = ""
