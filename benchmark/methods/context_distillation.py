"""Context distillation: the model learns what it would expect with the document in its prompt."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from benchmark.core.validation import not_a_bool
from benchmark.data.written import Writing
from benchmark.methods.base import Training
from benchmark.methods.written import WrittenMethod


class ContextDistillation(WrittenMethod):
    """Prompt distillation (Kujanpää et al., arXiv 2412.14964) and context distillation (Caccia et al., 2503.08727).

    The teacher is the model itself, before training, with the document in its prompt; the student reads the same texts
    without the document. In place of a text's next token, each position has the teacher's probabilities as its target:
    of its `top` likeliest tokens, at `temperature`, renormalised. This includes the position after the last token,
    where other methods teach the end of the text. As in the papers, the texts are made of the document by a model:
    here questions with their answers, as for `self_qa`. The documents themselves are not among them, since a teacher
    that has a text in its prompt would copy it, and its probabilities would tell little more than the tokens. Targets
    hold a limited number of tokens, so that they fit a disk. Hidden states, which Caccia et al. match as well, are left
    out.
    """

    name: ClassVar[str] = "context_distillation"
    originals: ClassVar[bool] = False
    asks: ClassVar[Writing] = Writing(prompts=("questions",), form="questions")

    top: Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, le=1000)] = 20
    temperature: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)] = 1.0

    def training(self) -> Training:
        """The teacher's probabilities as targets."""
        return Training(loss="distilled", top=self.top, temperature=self.temperature)

    def recorded_parameters(self) -> dict[str, Any]:
        """Those of written methods, and how the targets are made."""
        return {**super().recorded_parameters(), "top": self.top, "temperature": self.temperature}
