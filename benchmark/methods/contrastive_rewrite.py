"""Contrastive rewrite: paraphrases that keep and vary what surrounds the elusive clues."""

from typing import ClassVar, Literal

from benchmark.data.written import Writing
from benchmark.methods.written import WrittenMethod


class ContrastiveRewrite(WrittenMethod):
    """Paraphrases by a writer that is given the elusive clues (ours, from no paper).

    The clues are the five words with the highest difference of the pair's scores (Gao et al., AAAI 2025). The writer is
    asked to state each of them, and to vary the words around them.
    """

    name: ClassVar[str] = "contrastive_rewrite"
    needs: ClassVar[Literal["difference"]] = "difference"
    asks: ClassVar[Writing] = Writing(prompts=("rewrite_clues", "rewrite_clues_reordered"), clues=5)
