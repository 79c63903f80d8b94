"""Self-QA: questions on the document with their answers."""

from typing import ClassVar

from benchmark.data.written import Writing
from benchmark.methods.written import WrittenMethod


class SelfQa(WrittenMethod):
    """Questions and answers that the writer makes of the document, as in SEAL's comparison (arXiv 2506.10943).

    A question that a task asks too, word for word after SQuAD's normalisation, is left out and counted. The writer sees
    the documents alone. Copies have the form in which the tasks ask, so the method teaches this form, too.
    """

    name: ClassVar[str] = "self_qa"
    asks: ClassVar[Writing] = Writing(prompts=("questions",), form="questions")
