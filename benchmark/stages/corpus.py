"""Corpus stage: the task's texts as JSON lines, texts that do not fit every model split where the suite says so."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import regex

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.corpora import make_task
from benchmark.data.texts import Text, write_lines
from benchmark.models.loading import context_length, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall

TEXTS = "texts.jsonl"
MARGIN = 8  # tokens left for what models and recipes put around a text

# Ends of sentences that need no white space behind them, with the quotes and brackets that close there.
_CLOSING = "[”’」』）】》〉»)\\]]*"
_WIDE_END = regex.compile(f"[。！？｡؟।॥]+{_CLOSING}")
_LOOSE_END = regex.compile(f"[.!?…;；]+{_CLOSING}")
_CHARACTER = regex.compile(r"\X")  # what a reader takes for one: a letter with its accents, all of a flag


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write texts.jsonl. A text "x" that is split becomes "x/0", "x/1" and so on."""
    corpus = make_task(call.where["entry"]).load()
    if "data" in call.params and corpus.trained_on != call.params["data"]:
        raise UserError(f"task {call.params['task']}: its data changed while the suite ran; run the suite again")
    fits = _fits([ModelSpec.model_validate(model) for model in call.where.get("fit", [])])
    asked = call.params.get("details", [])
    pieces = [piece for text in corpus.texts for piece in _split(text, fits)]
    name, times = Counter(piece.id for piece in pieces).most_common(1)[0]
    if times > 1:
        raise UserError(f"text {name!r}: the piece of a text that is split has the same id; give it another id")
    write_lines(out / TEXTS, [_with_details(piece, asked) for piece in pieces])
    progress(1, 1)


def _fits(specs: list[ModelSpec]) -> Callable[[str], bool]:
    """Whether a text fits every model's context: one question, so that the order of the models changes no piece."""
    limits = [(tokenizer_of(spec), length - MARGIN) for spec in specs if (length := context_length(spec)) is not None]
    return lambda text: all(len(tokenizer(text, verbose=False)["input_ids"]) <= limit for tokenizer, limit in limits)


def _split(text: Text, fits: Callable[[str], bool]) -> list[Text]:
    """Cut a text into the fewest halves of halves that fit; only white space at the cuts is lost."""
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
    """Cut at a sentence end in the middle half if there is one, else at white space, else between characters."""
    if fits(text):
        return [text]
    if text != text.strip():
        return _halves(text.strip(), fits, name)
    middle = len(text) // 2
    ends = [i + 1 for i in range(len(text) - 1) if text[i] in ".!?\n" and text[i + 1].isspace()]
    ends += [match.end() for match in _WIDE_END.finditer(text)]
    spaces = [i for i in range(1, len(text) - 1) if text[i].isspace()]
    places = _central(ends, text) or spaces
    if not places:
        places = _central([match.end() for match in _LOOSE_END.finditer(text)], text)
    if not places:
        places = [match.start() for match in _CHARACTER.finditer(text)][1:]
    if not places:
        raise UserError(f"text {name!r}: the model's context has no room for its character {text!r}; take it out")
    cut = min(places, key=lambda i: abs(i - middle))
    return _halves(text[:cut].rstrip(), fits, name) + _halves(text[cut:].lstrip(), fits, name)


def _central(places: list[int], text: str) -> list[int]:
    """Those in the middle half of the text, so that halving makes progress."""
    return [place for place in places if len(text) // 4 < place < 3 * len(text) // 4]
