"""From texts to their loss: examples, their values, and their arrangement in a batch."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

from benchmark.core.errors import UserError
from benchmark.methods.base import Training
from benchmark.training.examples import Example, Examples, substitutes, values_at
from benchmark.training.objective import collate, select, token_losses
from benchmark.training.packing import IGNORE, pack, pad_rows

fast: Any = PreTrainedTokenizerFast


def examples(
    lengths: list[int], low: float, high: float, others: list[int], seed: int = 1, times: int = 1
) -> list[Example]:
    """Examples of texts whose token ids count up from 100, read in their order `times` times."""
    sequences, at = [], 100
    for length in lengths:
        sequences.append(list(range(at, at + length)))
        at += length
    order = list(range(len(lengths))) * times
    made = Examples(sequences, [], order, Training(replaced=(low, high)), others, seed)
    assert len(made) == len(order)
    return [made[position] for position in range(len(made))]


# --- replaced tokens


def test_a_share_of_the_tokens_is_replaced_but_never_the_first_or_a_label() -> None:
    for example in examples([41] * 20, 0.25, 0.25, others=[7, 8]):
        assert example.labels == list(range(example.labels[0], example.labels[0] + 41))
        assert example.inputs[0] == example.labels[0]
        changed = [mine for mine, own in zip(example.inputs, example.labels, strict=True) if mine != own]
        assert len(changed) == 10 and set(changed) == {7, 8}


def test_the_share_is_drawn_evenly_between_the_bounds_at_each_reading() -> None:
    counts = [sum(number == 7 for number in example.inputs) for example in examples([1001], 0.1, 0.3, [7], times=400)]
    assert 100 <= min(counts) < 115 and 285 < max(counts) <= 301
    assert sum(counts) / 400 == pytest.approx(200, abs=12)  # four standard errors of 200 / √12 / √400
    assert sum(count < 200 for count in counts) == pytest.approx(200, abs=40)


def test_short_texts_keep_the_share_on_average() -> None:
    counts = [example.inputs.count(7) for example in examples([4], 0.1, 0.1, [7], times=2000)]
    assert set(counts) == {0, 1}
    assert sum(counts) / 2000 == pytest.approx(0.3, abs=0.05)


def test_all_tokens_but_the_first_are_replaced_equally_often() -> None:
    read = examples([11], 0.5, 0.5, [7], times=1000)
    times_replaced = Counter(at for example in read for at in range(11) if example.inputs[at] == 7)
    assert set(times_replaced) == set(range(1, 11))
    assert all(count == pytest.approx(500, abs=80) for count in times_replaced.values())


def test_replaced_tokens_depend_only_on_the_seed_and_the_position_in_the_order() -> None:
    first, second = examples([30, 30], 0.2, 0.6, [7, 8, 9], times=3), examples([30, 30], 0.2, 0.6, [7, 8, 9], times=5)
    assert second[:6] == first
    assert first[0].inputs != first[2].inputs  # the same text, read again
    assert examples([30, 30], 0.2, 0.6, [7, 8, 9], seed=2, times=3) != first
    assert examples([30, 30], 1.0, 1.0, [7])[1].inputs == [130] + [7] * 29


def tokenizer(**special: str) -> Any:
    words = {word: number for number, word in enumerate(("a", "b", "<u>", "<p>", "<e>", "c", "<m>"))}
    return fast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<u>")), **special)


@pytest.mark.parametrize(
    ("special", "token", "role"),
    [
        ({"mask_token": "<m>", "unk_token": "<u>", "pad_token": "<p>", "eos_token": "<e>"}, 6, "mask"),
        ({"unk_token": "<u>", "pad_token": "<p>", "eos_token": "<e>"}, 2, "unk"),
        ({"pad_token": "<p>", "eos_token": "<e>"}, 3, "pad"),
        ({"eos_token": "<e>"}, 4, "eos"),
    ],
)
def test_the_mask_token_is_the_first_of_the_special_tokens_that_exist(
    special: dict[str, str], token: int, role: str
) -> None:
    masks, (note,) = substitutes(tokenizer(**special), "mask", 7)
    assert masks == [token] and note.endswith(f"the tokenizer's {role} token")


def test_a_mask_token_without_an_embedding_is_skipped() -> None:
    assert substitutes(tokenizer(mask_token="<m>", eos_token="<e>"), "mask", 6)[0] == [4]


def test_a_tokenizer_without_a_token_to_mask_with_is_refused() -> None:
    with pytest.raises(UserError, match="no mask, unk, pad or eos token"):
        substitutes(tokenizer(), "mask", 7)


def test_random_tokens_come_from_the_shared_vocabulary_without_special_tokens() -> None:
    special = {"mask_token": "<m>", "unk_token": "<u>", "eos_token": "<e>"}
    assert substitutes(tokenizer(**special), "random", 7) == ([0, 1, 3, 5], [])
    assert substitutes(tokenizer(**special), "random", 5) == ([0, 1, 3], [])
    assert substitutes(tokenizer(**special), "random", 64) == ([0, 1, 3, 5], [])


# --- values


def test_the_value_of_a_token_is_the_mean_over_its_characters() -> None:
    spans = [(0, 3, 1.0), (3, 5, 4.0), (8, 10, 7.0)]
    tokens = [(0, 0), (0, 3), (2, 5), (4, 9), (5, 8), (6, 12), (10, 12)]
    # (2, 5): one character of 1 and two of 4; (4, 9): one of 4 and one of 7; (6, 12): two of 7
    assert values_at(spans, tokens, 0.5) == pytest.approx([0.5, 1.0, 3.0, 5.5, 0.5, 7.0, 0.5])
    assert values_at([], tokens, 1.0) == [1.0] * 7


# --- batches


@pytest.mark.parametrize("arrange", [pack, pad_rows])
def test_labels_and_values_stay_aligned_with_their_tokens(arrange: Callable[..., dict[str, torch.Tensor]]) -> None:
    lengths = [7, 20, 3, 9, 2, 11, 5, 8]
    batch = [
        Example(
            [1000 * number + k for k in range(length)],
            [1000 * number + 500 + k for k in range(length)],
            [number + k / 100 for k in range(length)],
        )
        for number, length in enumerate(lengths, start=1)
    ]
    columns = collate(batch, 0, arrange)
    expected = arrange([example.inputs for example in batch], 0)
    assert columns.keys() - expected.keys() == {"values"}
    for name in expected.keys() - {"labels"}:
        assert_close(columns[name], expected[name])
    predicted = expected["labels"] != IGNORE
    assert_close(columns["labels"], torch.where(predicted, expected["labels"] + 500, IGNORE))
    token = expected["labels"]
    assert_close(columns["values"], torch.where(predicted, token // 1000 + token % 1000 / 100, 0.0))
    assert int(predicted.sum()) == sum(lengths) - len(lengths)


def test_examples_without_values_have_no_values_column() -> None:
    columns = collate([Example([5, 6, 7], [5, 8, 9], [])], 0, pack)
    assert columns.keys() == {"input_ids", "position_ids", "labels"}
    assert (columns["input_ids"].tolist(), columns["labels"].tolist()) == ([[5, 6, 7]], [[IGNORE, 8, 9]])


def test_token_losses_are_aligned_with_their_tokens() -> None:
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]]))
    losses = token_losses(logits, torch.tensor([[IGNORE, 1, 2]]))
    assert_close(losses, torch.tensor([[0.0, -math.log(0.25), -math.log(0.7)]]))
    assert_close(token_losses(logits, torch.tensor([[IGNORE, IGNORE, 0]])), torch.tensor([[0.0, 0.0, -math.log(0.1)]]))


def test_the_highest_entries_over_all_parts_are_selected() -> None:
    none = -math.inf
    parts = [torch.tensor([[none, 3.0, 1.0], [none, -2.0, none]]), torch.tensor([[none, 2.0, 3.0]])]
    chosen = select(parts, 0.5)  # of five entries three
    assert [part.tolist() for part in chosen] == [[[0, 1, 0], [0, 0, 0]], [[0, 1, 1]]]
    assert [part.tolist() for part in select(parts, 0.0)] == [[[0, 1, 0], [0, 0, 0]], [[0, 0, 0]]]
    assert sum(int(part.sum()) for part in select(parts, 1.0)) == 5
    # Entries of +∞ are not counted, and are all taken: here half of the four finite ones.
    always = select([torch.tensor([[none, math.inf, 1.0], [4.0, math.inf, 3.0]]), torch.tensor([[2.0]])], 0.5)
    assert [part.tolist() for part in always] == [[[0, 1, 0], [1, 1, 1]], [[0]]]
    assert select([torch.tensor([none, math.inf, math.inf])], 0.5)[0].tolist() == [0, 1, 1]
    # 0.2 × 5 is one entry, though in floating point a little more may come out.
    assert sum(int(part.sum()) for part in select(parts, 0.2)) == 1
