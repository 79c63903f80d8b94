"""Practice questions: texts on other subjects and questions about them, before or among the corpus."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.core.inputs import regular_file
from benchmark.core.validation import not_a_bool
from benchmark.data.plain_texts import QUESTIONS_ABOUT, read_plain_texts
from benchmark.data.texts import Text
from benchmark.methods.base import Practice, Training
from benchmark.methods.plain_matched import PlainMatched

_SETTING = "method 'practice_questions': source"


class PracticeQuestions(PlainMatched):
    """Pre-instruction-tuning (Jiang et al., ACL 2024, arXiv 2402.12847): learn how texts are asked about beside them.

    A `share` of what is read is practice: documents on other subjects, and questions about them with their answers. It
    is taken from the budget, so the corpus is read less often. `order` says whether all practice comes "first", as in
    the paper, or is "mixed" into every batch. `source` is "questions" (the made-up people of `recipe.rehearsal`) or a
    file as there, which may name no subject of the corpus. With `recipe.rehearsal`, the share is of what is read beside
    the rehearsal. Unlike in the paper, questions are in the loss too, and training is a single run.
    """

    name: ClassVar[str] = "practice_questions"
    welcome: ClassVar[frozenset[str]] = frozenset({"subject"})

    source: Annotated[str, Field(min_length=1)] = QUESTIONS_ABOUT
    share: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0, lt=1)] = 0.3
    order: Literal["mixed", "first"] = "mixed"

    def training(self) -> Training:
        """Read the practice beside the corpus."""
        return Training(practice=Practice(source=self.source, share=self.share, order=self.order))

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Raise UserError for a file that cannot be read, holds no text, or names a subject of the corpus."""
        if self._file is None:
            return
        practice = "\n".join(read_plain_texts(self._file, _SETTING))
        for text in texts:
            if text.subject and text.subject in practice:
                raise UserError(
                    f"{_SETTING}: {self.source}: names {text.subject!r}, whom text {text.id!r} of the corpus is about; "
                    "practise on other subjects"
                )

    @property
    def label(self) -> str:
        """The method with options that are not the default; a file's name in place of its path."""
        return super().label.replace(self.source, self._file.name) if self._file else super().label

    def key_parameters(self) -> dict[str, Any]:
        """The parameters, with the hash of a file in place of its path."""
        return {**self.model_dump(mode="json"), **({"source": self.sha256} if self._file else {})}

    def recorded_parameters(self) -> dict[str, Any]:
        """The parameters as keys hold them, with the name of a file as a label."""
        return {**self.key_parameters(), **({"label": self._file.name} if self._file else {})}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return file_hash(regular_file(Path(self.source), f"give a file of texts as {_SETTING}"))

    @property
    def _file(self) -> Path | None:
        return None if self.source == QUESTIONS_ABOUT else Path(self.source).expanduser()
