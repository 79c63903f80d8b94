"""How one attempt at a stage ended, in a container or on a cluster."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class End:
    """How an attempt at a stage ended.

    Attributes:
        kind: "done"; "mistake": the stage found something that the user can mend; "memory": it reached its memory
            limit; "infrastructure": it was killed, hung, or lost with its machine, and is tried again; "failure": a
            defect.
        reason: In words; empty if it is done.
    """

    kind: Literal["done", "mistake", "memory", "infrastructure", "failure"]
    reason: str = ""
