"""The form in which an evaluation asked: what stood before a question, and how the question was put."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark.corpora.base import CHOICE, CLOZE
from benchmark.evaluation.asking import MAX_GEN_TOKS
from benchmark.evaluation.request_recorder import samples_of

QUESTION = "{question}"


class AskingForm(BaseModel):
    """How questions are put to a model.

    Attributes:
        shots: The number of examples before a question.
        before: The examples as they stand before a question, with what separates them from it.
        template: A question with what stands around it; "{question}" stands for the question.
        until: What ends an answer.
        most_tokens: The most tokens of an answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shots: int = Field(ge=0)
    before: str
    template: str
    until: list[str] = Field(min_length=1)
    most_tokens: int = Field(ge=1)

    def prompt(self, question: str) -> str:
        """The prompt for a question."""
        return self.before + self.template.replace(QUESTION, question)


def asking_form(tasks: Sequence[str], metadata: Mapping[str, Any], shots: int) -> AskingForm:
    """The form in which lm-eval asks the first of some tasks that is answered in words.

    Args:
        tasks: Names of this project's lm-eval tasks.
        metadata: Metadata of lm-eval's task manager.
        shots: The number of examples before a question.
    """
    written = next(name for name in tasks if not name.endswith((CHOICE, CLOZE)))
    # With the largest number of examples first; both lists begin with the same question.
    samples = [next(iter(of_tasks.values()))[0] for of_tasks in samples_of([written], metadata, [shots, 0], limit=1)]
    with_examples, alone = samples[0], samples[-1]
    prompt, settings = with_examples["arguments"][0]
    question_alone: str = alone["arguments"][0][0]
    # What the biography task calls a question is its whole prompt.
    question = alone["doc"]["question"].removeprefix("Question: ").removesuffix("\nAnswer:")
    return AskingForm(
        shots=shots,
        before=prompt.removesuffix(question_alone),
        template=QUESTION.join(question_alone.rsplit(question, 1)),
        until=settings["until"],
        most_tokens=settings.get("max_gen_toks", MAX_GEN_TOKS),
    )
