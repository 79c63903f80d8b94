"""Implications: what follows from the document."""

from typing import ClassVar

from benchmark.data.written import Writing
from benchmark.methods.written import WrittenMethod


class Implications(WrittenMethod):
    """A list of statements that follow from the document: the self-edit of SEAL (Zweiger et al., arXiv 2506.10943)."""

    name: ClassVar[str] = "implications"
    asks: ClassVar[Writing] = Writing(prompts=("implications",))
