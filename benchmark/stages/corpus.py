"""Corpus stage: the task's texts as JSON lines, texts that do not fit every model split where the suite says so."""

from collections.abc import Callable
from pathlib import Path

from benchmark.corpora import make_task
from benchmark.errors import UserError
from benchmark.models.loading import context_length, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.stages import Progress
from benchmark.store import StageCall
from benchmark.texts import Text, write_lines

TEXTS = "texts.jsonl"
MARGIN = 8  # tokens left for what models and recipes put around a text


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write texts.jsonl. A text "x" that is split becomes "x/0", "x/1" and so on."""
    corpus = make_task(call.where["entry"]).load()
    if "data" in call.params and corpus.data_hash != call.params["data"]:
        raise UserError(f"task {call.params['task']}: its data changed while the suite ran; run the suite again")
    fits = _fits([ModelSpec.model_validate(model) for model in call.where.get("fit", [])])
    asked = call.params.get("details", [])
    pieces = [piece for text in corpus.texts for piece in _split(text, fits)]
    write_lines(out / TEXTS, [_with_details(piece, asked) for piece in pieces])
    progress(1, 1)


def _fits(specs: list[ModelSpec]) -> Callable[[str], bool]:
    """Whether a text fits every model's context: one question, so that the order of the models changes no piece."""
    limits = [(tokenizer_of(spec), length - MARGIN) for spec in specs if (length := context_length(spec)) is not None]
    return lambda text: all(len(tokenizer(text)["input_ids"]) <= limit for tokenizer, limit in limits)


def _split(text: Text, fits: Callable[[str], bool]) -> list[Text]:
    """Cut a text into the fewest halves of halves that fit; only white space is lost."""
    pieces = _halves(text.text, fits, text.id)
    names = [text.id] if len(pieces) == 1 else [f"{text.id}/{i}" for i in range(len(pieces))]
    made, done = [], 0
    for name, piece in zip(names, pieces, strict=True):
        start = text.text.index(piece, done)  # only white space lies between the pieces
        done = start + len(piece)
        inside = tuple((s - start, e - start) for s, e in text.entities if start <= s and e <= done)
        made.append(Text(name, piece, text.subject, inside))
    return made


def _with_details(text: Text, asked: list[str]) -> Text:
    """The text with the details that a method asked for and no others, so that no other method's texts change."""
    return Text(
        text.id,
        text.text,
        text.subject if "subject" in asked else "",
        text.entities if "entities" in asked else (),
    )


def _halves(text: str, fits: Callable[[str], bool], name: str) -> list[str]:
    if fits(text):
        return [text]
    if text != text.strip():
        return _halves(text.strip(), fits, name)
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
    return _halves(text[:cut].rstrip(), fits, name) + _halves(text[cut:].lstrip(), fits, name)
