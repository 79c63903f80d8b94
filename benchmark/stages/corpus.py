"""Corpus stage: a task's texts as JSON lines. Where the suite says so, texts too long for a model are split."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.corpora import make_task
from benchmark.data.pieces import cut_into_pieces
from benchmark.data.texts import Text, write_lines
from benchmark.models.loading import context_length, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.stages.files import TEXTS
from benchmark.store.artifacts import StageCall

MARGIN = 8  # tokens kept free for the special tokens that models and recipes add


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write texts.jsonl. A text "x" that is split becomes the texts "x/0", "x/1" and so on."""
    corpus = make_task(call.where["entry"]).load()
    if "data" in call.params and corpus.trained_on != call.params["data"]:
        raise UserError(f"task {call.params['task']}: its data changed while the suite ran; run the suite again")
    fits = _fits([ModelSpec.model_validate(model) for model in call.where.get("fit", [])])
    details = call.params.get("details", [])
    pieces = [piece for text in corpus.texts for piece in _split(text, fits)]
    name, times = Counter(piece.id for piece in pieces).most_common(1)[0]
    if times > 1:
        raise UserError(f"text {name!r}: a piece of another text that is split gets the same id; rename the text")
    write_lines(out / TEXTS, [_with_details(piece, details) for piece in pieces])
    progress(1, 1)


def _fits(specs: list[ModelSpec]) -> Callable[[str], bool]:
    """A function that says whether a text fits all contexts, so that the order of the models has no influence."""
    limits = [(tokenizer_of(spec), length - MARGIN) for spec in specs if (length := context_length(spec)) is not None]
    return lambda text: all(len(tokenizer(text, verbose=False)["input_ids"]) <= limit for tokenizer, limit in limits)


def _split(text: Text, fits: Callable[[str], bool]) -> list[Text]:
    """Halve a text, and the halves, until all pieces fit; only white space at the cuts is lost."""
    pieces = cut_into_pieces(text.text, fits, text.id)
    names = [text.id] if len(pieces) == 1 else [f"{text.id}/{i}" for i in range(len(pieces))]
    made, done = [], 0
    for name, piece in zip(names, pieces, strict=True):
        start = text.text.index(piece, done)  # only white space lies between the pieces
        done = start + len(piece)
        inside = tuple((s - start, e - start) for s, e in text.entities if start <= s and e <= done)
        made.append(Text(name, piece, text.subject, inside))
    return made


def _with_details(text: Text, details: list[str]) -> Text:
    """The text with only the details that a method asks for, so that other methods keep their texts."""
    return Text(
        text.id,
        text.text,
        text.subject if "subject" in details else "",
        text.entities if "entities" in details else (),
    )
