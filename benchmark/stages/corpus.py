"""Corpus stage: the task's texts as JSON lines, texts that do not fit every model split where the suite says so."""

from collections.abc import Callable
from pathlib import Path

from benchmark.corpora import load_corpus
from benchmark.errors import UserError
from benchmark.models.loading import context_length, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.stages import Progress
from benchmark.store import StageCall
from benchmark.suite import TaskEntry
from benchmark.texts import Text, write_lines

TEXTS = "texts.jsonl"
MARGIN = 8  # tokens left for what models and recipes put around a text


def _token_count(spec: ModelSpec) -> Callable[[str], int]:
    tokenizer = tokenizer_of(spec)
    return lambda text: len(tokenizer(text)["input_ids"])


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write texts.jsonl. A text "x" that is split becomes "x/0", "x/1" and so on."""
    texts = load_corpus(TaskEntry.model_validate(call.where["entry"])).texts
    for model in call.where.get("fit", []):
        spec = ModelSpec.model_validate(model)
        limit = context_length(spec)
        if limit is not None:
            count = _token_count(spec)
            texts = [piece for text in texts for piece in _split(text, count, limit - MARGIN)]
        progress(1, 1)
    write_lines(out / TEXTS, texts)


def _split(text: Text, count: Callable[[str], int], limit: int) -> list[Text]:
    """Cut a text into the fewest halves of halves that have at most `limit` tokens each; only white space is lost."""
    pieces = _halves(text.text, count, limit, text.id)
    return [text] if len(pieces) == 1 else [Text(f"{text.id}/{i}", piece) for i, piece in enumerate(pieces)]


def _halves(text: str, count: Callable[[str], int], limit: int, name: str) -> list[str]:
    if count(text) <= limit:
        return [text]
    middle = len(text) // 2
    sentence_ends = [i + 1 for i in range(len(text) - 1) if text[i] in ".!?\n" and text[i + 1].isspace()]
    spaces = [i for i in range(1, len(text) - 1) if text[i].isspace()]
    # A sentence end will do if it is in the middle half, so that halving makes progress; else any white space.
    central = [i for i in sentence_ends if len(text) // 4 < i < 3 * len(text) // 4]
    places = central or spaces
    if not places:
        raise UserError(
            f"text {name!r}: longer than the model's context and without white space to split it at; split it by hand"
        )
    cut = min(places, key=lambda i: abs(i - middle))
    return _halves(text[:cut].rstrip(), count, limit, name) + _halves(text[cut:].lstrip(), count, limit, name)
