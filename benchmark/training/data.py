"""Training data: the token ids that a training reads, their order, and the number of optimizer steps."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.data.pieces import cut_into_pieces
from benchmark.data.targets import Key, Targets
from benchmark.data.texts import AugmentedText
from benchmark.methods.base import Practice, Training
from benchmark.models.loading import context_length, load_config, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall
from benchmark.training.order import ExtraTexts, reading_order, steps_for, steps_for_tokens, tokens_for
from benchmark.training.recipe import Budget, Recipe, Rehearsal
from benchmark.training.rehearsal import SETTINGS, name_of, rehearsal_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from benchmark.training.examples import Examples

_SPECIAL_TOKENS = 8  # more than any tokenizer adds to a text
TEXTS_AT_ONCE = 10_000  # while it works, a tokenizer holds ten times as much about a text as its token ids take


@dataclass(frozen=True)
class TrainingData:
    """What a training reads.

    Attributes:
        sequences: Token ids of every text, those of the corpus before those of rehearsal and practice.
        texts: How many of them are of the corpus.
        order: Numbers of the sequences, in the order they are read.
        steps: Optimizer steps.
        examples: The sequences in this order, as the Trainer gets them.
        notes: Notes for the report.
    """

    sequences: list[list[int]]
    texts: int
    order: list[int]
    steps: int
    examples: "list[list[int]] | Examples"
    notes: list[str]

    def loss_tokens(self, training: Training) -> int:
        """Tokens in the loss of a training, each counted as often as it is read; those of weight 0 do not count."""
        from benchmark.training.examples import Examples

        if training.loss == "weighted" and isinstance(self.examples, Examples):
            weights = (self.examples[position].values[1:] for position in range(len(self.order)))
            return sum(weight > 0 for of_text in weights for weight in of_text)
        predicted = [len(self.sequences[number]) - 1 for number in self.order]
        if training.loss == "selected":
            corpus = sum(tokens for tokens, n in zip(predicted, self.order, strict=True) if n < self.texts)
            return math.ceil(round(corpus * training.selected, 6)) + sum(predicted) - corpus
        return sum(predicted)

    def in_order(self) -> Iterator[list[int]]:
        """The token ids of every text that is read, in order."""
        return (self.sequences[number] for number in self.order)


def training_data(
    call: StageCall,
    recipe: Recipe,
    spec: ModelSpec,
    texts: Sequence[AugmentedText],
    targets: Mapping[Key, Targets] | None = None,
) -> TrainingData:
    """What a train stage reads, given a method's texts and, if its loss needs them, a teacher's targets for each.

    Raises:
        UserError: If a text does not fit the model's context, no text has two tokens, the tokenizer has no token to
            mask with, or a file of rehearsal or practice has changed.
    """
    training = Training.model_validate(call.params.get("training", {}))
    tokenizer, context = tokenizer_of(spec), context_length(spec)
    read, on_pieces = _in_pieces(texts, tokenizer, context) if training.loss != "distilled" else (texts, [])
    used, sequences, notes = _with_two_tokens(read, encode(read, tokenizer, recipe, context))
    notes += on_pieces
    count = len(sequences)
    extra_texts, extra_sequences, groups = _extra_texts(call, recipe, spec, training, texts, count)
    used, sequences = [*used, *extra_texts], [*sequences, *extra_sequences]

    def order_of(needed: int) -> list[int]:
        return reading_order(count, needed, call.params["seed"], groups)

    steps = _steps(call, texts, sequences, order_of, recipe.batch_size)
    order = order_of(steps * recipe.batch_size)
    if training.replaced == (0, 0) and training.loss == "mean" and not training.hidden:
        return TrainingData(sequences, count, order, steps, [sequences[number] for number in order], notes)
    examples, on_examples = _examples(spec, training, used, sequences, count, order, call.params["seed"], targets or {})
    return TrainingData(sequences, count, order, steps, examples, notes + on_examples)


def _extra_texts(
    call: StageCall,
    recipe: Recipe,
    spec: ModelSpec,
    training: Training,
    texts: Sequence[AugmentedText],
    count: int,
) -> tuple[list[AugmentedText], list[list[int]], list[ExtraTexts]]:
    """The texts of rehearsal and practice, their token ids, and their groups; their numbers begin at `count`."""
    tokenizer, context = tokenizer_of(spec), context_length(spec)
    used: list[AugmentedText] = []
    sequences: list[list[int]] = []
    groups = []
    for source in other_sources(recipe, training):
        found = rehearsal_texts(source, source_file(call, source), texts)
        setting = SETTINGS[name_of(source)]
        encoded = encode(found, tokenizer, recipe, context, setting)
        of_source, ids, _ = _with_two_tokens(found, encoded, f"{setting}: no text")
        first = isinstance(source, Practice) and source.order == "first"
        groups.append(ExtraTexts(count + len(sequences), len(ids), source.share, first))
        used += of_source
        sequences += ids
    return used, sequences, groups


def _steps(
    call: StageCall,
    texts: Sequence[AugmentedText],
    sequences: Sequence[list[int]],
    order_of: Callable[[int], list[int]],
    batch: int,
) -> int:
    """Optimizer steps under the budget of a train stage."""
    budget = Budget.model_validate(call.params["budget"])
    method, copies = str(call.params["method"]), int(call.params["copies"])
    if budget.tokens:
        return steps_for_tokens(tokens_for(budget.tokens, method, texts, copies), sequences, order_of, batch)
    return steps_for(budget, method, texts, copies, batch)


def _examples(
    spec: ModelSpec,
    training: Training,
    texts: Sequence[AugmentedText],
    sequences: list[list[int]],
    count: int,
    order: list[int],
    seed: int,
    targets: Mapping[Key, Targets],
) -> "tuple[Examples, list[str]]":
    """The examples of a training that changes tokens or the loss, and notes; the first `count` texts are the corpus."""
    from benchmark.training.examples import Examples, substitutes, token_values, with_hidden

    tokenizer, size = tokenizer_of(spec), load_config(spec).get_text_config().vocab_size
    notes: list[str] = []
    replacing: list[int] = []
    values: list[list[float]] = []
    expected: list[Targets | None] = []
    inputs = sequences
    if training.replaced != (0, 0):
        replacing, note = substitutes(tokenizer, training.replacement, size)
        notes += note
    if training.hidden:
        (mask,), note = substitutes(tokenizer, "mask", size)
        notes += note
        inputs = with_hidden(texts, sequences, tokenizer, mask)
    if training.loss != "mean":
        values = token_values(texts, sequences, tokenizer, training, count)
    if training.loss == "distilled":
        found, on_targets = _expected(texts[:count], sequences, targets)
        expected = [*found, *[None] * (len(sequences) - count)]
        notes.append(on_targets)
    return Examples(sequences, values, order, training, replacing, seed, count, inputs, expected), notes


def _expected(
    texts: Sequence[AugmentedText], sequences: Sequence[list[int]], targets: Mapping[Key, Targets]
) -> tuple[list[Targets], str]:
    """The targets of each text, and a note on how much of the teacher's probability they hold."""
    found: list[Targets] = []
    shares: list[float] = []
    for text, ids in zip(texts, sequences, strict=False):
        of_text = targets.get((text.id, text.copy))
        # One for each token but the end token that training appends, after which nothing is expected.
        if of_text is None or len(of_text.tokens) not in (len(ids) - 1, len(ids)):
            raise ValueError(f"text {text.id!r} copy {text.copy}: no targets, or not those of its tokens")
        found.append(of_text)
        shares += of_text.shares()
    top = max(of_text.tokens.shape[1] for of_text in found)
    return found, f"targets: the {top} likeliest tokens, {fmean(shares):.1%} of the teacher's probability"


def _in_pieces(
    texts: Sequence[AugmentedText], tokenizer: "PreTrainedTokenizerFast", limit: int | None
) -> tuple[Sequence[AugmentedText], list[str]]:
    """The texts, with copies that exceed the model's context cut into pieces, and a note if there are any.

    A writer does not know the trained model, and may write more than fits. Originals are cut by the corpus stage, if
    the suite wants that; copies with numbers or hidden parts belong to their characters, and are not cut.
    """
    if limit is None:
        return texts, []

    def fits(text: str) -> bool:
        # One token is kept free for the end token. A text has no more tokens than bytes, but for special tokens.
        return len(text.encode()) + _SPECIAL_TOKENS < limit or len(tokenizer(text, verbose=False)["input_ids"]) < limit

    pieces: list[AugmentedText] = []
    cut = 0
    for text in texts:
        if text.copy == 0 or text.values or text.hidden or fits(text.text):
            pieces.append(text)
        else:
            cut += 1
            parts = cut_into_pieces(text.text, fits, f"{text.id} copy {text.copy}")
            pieces += [replace(text, text=part) for part in parts]
    return pieces, [f"{cut} copies longer than the model's context of {limit} tokens cut into pieces"] if cut else []


def encode(
    texts: Sequence[AugmentedText],
    tokenizer: "PreTrainedTokenizerFast",
    recipe: Recipe,
    limit: int | None,
    setting: str | None = None,
) -> list[list[int]]:
    """Token ids of each text, with the tokenizer's own special tokens and, if the recipe says so, the end token.

    Args:
        texts: The texts.
        tokenizer: Of the trained model.
        recipe: Says whether the end token is appended.
        limit: Tokens that the model's context holds; None where it has no limit.
        setting: The setting of the suite that names the texts' source, for errors; None for texts of the corpus.

    Raises:
        UserError: If a text has more tokens than the limit, naming the text.
    """
    end = [tokenizer.eos_token_id] if recipe.append_end and tokenizer.eos_token_id is not None else []
    sequences = []
    remaining = iter(texts)
    while batch := list(islice(remaining, TEXTS_AT_ONCE)):
        for text, ids in zip(batch, tokenizer([text.text for text in batch])["input_ids"], strict=True):
            ids = ids if end and ids[-1:] == end else ids + end
            if limit is not None and len(ids) > limit:
                what = f"{len(ids)} tokens, more than the model's context of {limit}; shorten it"
                if setting:
                    raise UserError(f"{setting}: text {text.id!r}: {what}")
                remedy = ", or leave out the method if its copies are longer than the texts" if text.copy else ""
                raise UserError(
                    f"text {text.id!r} copy {text.copy}: {what} or set long_texts: split in the suite{remedy}"
                )
            sequences.append(ids)
    return sequences


def other_sources(recipe: Recipe, training: Training) -> list[Rehearsal | Practice]:
    """What a training reads beside the corpus: the recipe's rehearsal, then the method's practice."""
    return [source for source in (recipe.rehearsal, training.practice) if source]


def source_file(call: StageCall, source: Rehearsal | Practice) -> Path | None:
    """The file of texts that a train stage rehearses or practises on; None where the texts come from no file.

    Raises:
        UserError: If the file has changed since the suite was planned.
    """
    name = name_of(source)
    if name not in call.where:
        return None
    file = Path(call.where[name])
    if file_hash(file) != call.params[name]:
        raise UserError(f"{SETTINGS[name]}: {file}: changed while the suite ran; run the suite again")
    return file


def _with_two_tokens(
    texts: Sequence[AugmentedText], encoded: list[list[int]], none: str = "no training text"
) -> tuple[list[AugmentedText], list[list[int]], list[str]]:
    """The texts of at least two tokens, with their token ids, and a note where others were left out.

    `none` begins the error if there are none.

    Raises:
        UserError: If no text has two tokens.
    """
    kept = [number for number, ids in enumerate(encoded) if len(ids) > 1]
    if not kept:
        raise UserError(f"{none} has more than one token, so there is nothing to learn; give longer texts")
    left_out = len(texts) - len(kept)
    notes = [f"{left_out} texts of a single token left out: they predict nothing"] if left_out else []
    return [texts[number] for number in kept], [encoded[number] for number in kept], notes
