"""Retention entries of a suite: held-out texts and lm-eval tasks that show how much the model forgot.

This module does not import torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from benchmark.core.errors import UserError, nearest, one_line
from benchmark.core.files import file_hash
from benchmark.core.inputs import regular_file
from benchmark.core.validation import not_a_bool
from benchmark.corpora import TASKS
from benchmark.corpora.base import METRICS_FILE, tree_hash
from benchmark.models.spec import Revision

_Count = Annotated[int, BeforeValidator(not_a_bool), Field(ge=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]  # the field that only this kind of entry has

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)

    def pinned(self) -> Self:
        """The entry with its data pinned, for example to a commit, so that it always means the same.

        Raises:
            UserError: The data cannot be pinned.
        """
        return self

    def identity(self) -> dict[str, Any]:
        """The parts of a pinned entry that results depend on: part of the key."""
        return self.model_dump(mode="json")


class _Words(_Entry):
    """A held-out text that the model predicts, window by window.

    Attributes:
        tokens: Use only the first `tokens` tokens.
        context: Length of a window in tokens; None for 2048, or the model's context if that is shorter.
        metric: The metric whose change is reported; both are measured.
    """

    tokens: _Count | None = None
    context: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None
    metric: Literal["perplexity", "bits_per_byte"] = "perplexity"


class TextFile(_Words):
    """A held-out text in a UTF-8 file."""

    kind: ClassVar[str] = "text"

    text: Path

    def identity(self) -> dict[str, Any]:
        """The options with the hash of the file in place of its path."""
        self.words()
        return {**super().identity(), "text": file_hash(self._file())}

    def words(self) -> str:
        """The text.

        Raises:
            UserError: The file cannot be read, is not UTF-8, or is empty.
        """
        try:
            text = self._file().read_bytes().decode("utf-8")
        except OSError as error:
            raise UserError(
                f"retention {self.name}: {self.text}: {error.strerror}; give the path of a text file"
            ) from None
        except UnicodeDecodeError as error:
            raise UserError(
                f"retention {self.name}: {self.text}: not UTF-8 at byte {error.start}; convert it first"
            ) from None
        if not text.strip():
            raise UserError(f"retention {self.name}: {self.text}: is empty; give a file with text")
        return text

    def _file(self) -> Path:
        try:
            return regular_file(self.text, "give the path of a text file")
        except UserError as error:
            raise UserError(f"retention {self.name}: {error}") from None


class HubText(_Words):
    """A held-out text from a data set of the Hugging Face hub: the rows of a column, separated by empty lines."""

    kind: ClassVar[str] = "dataset"

    dataset: str = Field(min_length=1)
    config: str | None = None
    split: str = "test"
    column: str = "text"
    revision: Revision | None = None

    def pinned(self) -> Self:
        """The entry with the commit of its revision, taken from the local cache if it is there."""
        return self.model_copy(update={"revision": self._commit()})

    def words(self) -> str:
        """The text.

        Raises:
            UserError: The data set cannot be loaded, or has no such column of strings.
        """
        import datasets

        datasets.disable_progress_bars()
        try:
            rows = datasets.load_dataset(self.dataset, self.config, split=self.split, revision=self.revision)
        except Exception as error:  # the libraries raise many types, which mean the same to the user
            raise self._not_loaded(error) from None
        if self.column not in rows.column_names:
            raise UserError(
                f"retention {self.name}: data set {self.dataset!r} has no column {self.column!r}; "
                f"{nearest(self.column, rows.column_names)}"
            )
        texts = rows[self.column][:]
        if not all(isinstance(text, str) for text in texts):
            raise UserError(
                f"retention {self.name}: column {self.column!r} of {self.dataset!r} is not text; give another"
            )
        if not (text := "\n\n".join(texts)).strip():
            raise UserError(f"retention {self.name}: data set {self.dataset!r}: is empty; give another split")
        return text

    def _commit(self) -> str:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.file_download import repo_folder_name

        wanted = self.revision or constants.DEFAULT_REVISION
        if len(wanted) == 40 and set(wanted) <= set("0123456789abcdef"):
            return wanted
        folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.dataset, repo_type="dataset")
        known = folder / "refs" / wanted
        if known.is_file():
            return known.read_text().strip()
        try:
            if constants.HF_HUB_OFFLINE:
                # Data fetched by commit have no ref. A single snapshot is the one meant.
                snapshots = [path.name for path in folder.glob("snapshots/*")] if self.revision is None else []
                if len(snapshots) == 1:
                    return snapshots[0]
                raise ConnectionError("HF_HUB_OFFLINE is set")
            return str(HfApi().dataset_info(self.dataset, revision=self.revision, timeout=10).sha)
        except Exception as error:
            raise self._not_loaded(error) from None

    def _not_loaded(self, error: Exception) -> UserError:
        reason = one_line(error)
        return UserError(
            f"retention {self.name}: data set {self.dataset!r}: cannot be loaded from the hub ({type(error).__name__}: "
            f"{reason}); check its name, config, split and the network, or give a file under text"
        )


class LmEvalTask(_Entry):
    """A task or group of lm-eval, or a task of this project.

    Attributes:
        lm_eval: Its name.
        metric: The metric that lm-eval reports, followed by a comma and the filter if there are several filters
            ("exact_match,strict-match").
        limit: Ask only the first `limit` questions of every task.
        num_fewshot: Number of few-shot examples; None for the task's default.
    """

    kind: ClassVar[str] = "lm_eval"

    lm_eval: str = Field(min_length=1)
    metric: str = Field(min_length=1)
    limit: _Count | None = None
    num_fewshot: Annotated[int, BeforeValidator(not_a_bool), Field(ge=0)] | None = None

    def identity(self) -> dict[str, Any]:
        """The options, and the hash of the files of a task of this project, which lm-eval's version does not cover."""
        own = [file for file in TASKS.glob("*/*.yaml") if file.stem == self.lm_eval]
        suffixes = (".py", ".yaml", ".jsonl", ".csv")
        files = [file for task_file in own for file in task_file.parent.iterdir() if file.suffix in suffixes]
        if own:
            files.append(METRICS_FILE)
        return {**super().identity(), **({"definition": tree_hash(set(files))} if own else {})}


KINDS: dict[str, type[TextFile] | type[HubText] | type[LmEvalTask]] = {
    kind.kind: kind for kind in (TextFile, HubText, LmEvalTask)
}


def _kind(value: Any) -> str | None:
    if isinstance(value, _Entry):
        return value.kind
    kinds = [kind for kind in KINDS if kind in value] if isinstance(value, Mapping) else []
    return kinds[0] if len(kinds) == 1 else None


Retention = Annotated[
    Annotated[TextFile, Tag("text")] | Annotated[HubText, Tag("dataset")] | Annotated[LmEvalTask, Tag("lm_eval")],
    Discriminator(
        _kind,
        custom_error_type="retention_kind",
        custom_error_message="give one of text (a file), dataset (on the hub) and lm_eval (a task)",
    ),
]


def make_entry(content: dict[str, Any]) -> TextFile | HubText | LmEvalTask:
    """Rebuild an entry from its `model_dump`."""
    return KINDS[str(_kind(content))].model_validate(content)
