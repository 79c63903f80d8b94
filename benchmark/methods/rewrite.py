"""Rewrite: paraphrases of the document in several styles."""

from typing import ClassVar

from benchmark.data.written import Writing
from benchmark.methods.written import WrittenMethod


class Rewrite(WrittenMethod):
    """Paraphrases in fixed styles, in turn: an encyclopedia's entry, a letter, a dialogue, a list, for a child.

    The "rewrite" of SEAL (Zweiger et al., arXiv 2506.10943) and the fixed prompts of SPA (arXiv 2603.22213), in prompts
    of our own.
    """

    name: ClassVar[str] = "rewrite"
    asks: ClassVar[Writing] = Writing(
        prompts=("rewrite_encyclopedia", "rewrite_letter", "rewrite_dialogue", "rewrite_list", "rewrite_child")
    )
