"""Checks of the machine that neither hang nor crash, and what they find."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.core.errors import one_line


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        what: What was checked.
        found: What was found, in words.
        ok: Whether it is in order.
        remedy: What to do if it is not.
    """

    what: str
    found: str
    ok: bool = True
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A check of `what` by the function `look`, given up after `seconds`."""

    what: str
    look: Callable[[], Finding]
    seconds: float = 30.0

    def finding(self) -> Finding:
        """Run the check. If the system does not answer, or the check fails, the finding says so."""
        findings: list[Finding] = []

        def look() -> None:
            try:
                findings.append(self.look())
            except Exception as error:
                words = f"the check failed ({type(error).__name__}: {one_line(error)})"
                findings.append(Finding(self.what, words, False, "repair what the error names"))

        thread = threading.Thread(target=look, daemon=True)  # may hang forever, on a file system that does not answer
        thread.start()
        thread.join(self.seconds)
        hung = Finding(
            self.what,
            f"no answer within {self.seconds:g} s",
            False,
            "find out what hangs: a disk, a network share, a driver",
        )
        return findings[0] if findings else hung
