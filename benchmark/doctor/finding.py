"""What a look at the machine found, and looks that neither hang nor crash."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.core.errors import one_line


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `remedy` is only of interest where `ok` is False."""

    what: str
    found: str
    ok: bool = True
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A look at one thing, which gives up after so many seconds."""

    what: str
    look: Callable[[], Finding]
    seconds: float = 30.0

    def finding(self) -> Finding:
        """What was found; also where the system does not answer, or the look fails in a way nobody thought of."""
        found: list[Finding] = []

        def look() -> None:
            try:
                found.append(self.look())
            except Exception as error:
                words = f"could not be looked at ({type(error).__name__}: {one_line(error)})"
                found.append(Finding(self.what, words, False, "see whether what it names is in order"))

        thread = threading.Thread(target=look, daemon=True)  # a hung file system is left to itself
        thread.start()
        thread.join(self.seconds)
        hung = Finding(self.what, f"no answer within {self.seconds:g} s", False, "see what hangs: a disk, a driver, …")
        return found[0] if found else hung
