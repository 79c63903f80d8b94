"""Strategies: the writer invents ways of studying the document, and applies them."""

from typing import ClassVar

from benchmark.data.written import Writing
from benchmark.methods.written import WrittenMethod


class Strategies(WrittenMethod):
    """Ways of studying that the writer invents for each document, then applies: Active Reading (arXiv 2508.09494)."""

    name: ClassVar[str] = "strategies"
    asks: ClassVar[Writing] = Writing(prompts=("apply_strategy",), items="study_strategies")
