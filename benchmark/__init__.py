"""Which way of preparing a small text corpus makes a language model remember the most facts from it?"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.api import (
        AdoptedModel,
        Run,
        adopt,
        ask,
        augment,
        board,
        load_suite,
        read_documents,
        run,
        score,
        write_questions,
    )
    from benchmark.core.errors import UserError

__all__ = [
    "AdoptedModel",
    "Run",
    "UserError",
    "adopt",
    "ask",
    "augment",
    "board",
    "load_suite",
    "read_documents",
    "run",
    "score",
    "write_questions",
]

NAME = "CramBench"
__version__ = "0.1.0"
ROOT = Path(__file__).resolve().parent.parent  # of a checkout; site-packages where this is installed from a wheel

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the API when it is first used, so that importing a room stays cheap (PEP 562)."""
        if name in __all__:
            from benchmark import api

            return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
