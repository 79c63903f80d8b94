"""Rows that continue from a shared prefix must have the logits of whole rows, on every supported architecture."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.models.shared_prefix import PackedRow, PrefixReader
from tests.models.random_models import FALCON, SUPPORTED, UNSUPPORTED, random_model


def random_tokens(count: int, seed: int) -> list[int]:
    ids: list[int] = torch.randint(1, 100, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return ids


@torch.no_grad()
def whole_row(model: Any, ids: Sequence[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0]
    return logits


@pytest.fixture(scope="module", params=SUPPORTED)
def model(request: pytest.FixtureRequest) -> Any:
    return random_model(*SUPPORTED[request.param])


@pytest.mark.parametrize("shared", [0, 5, 30])  # no prefix, one within the sliding windows, one beyond them
def test_generation_from_a_shared_prefix_equals_generation_from_whole_rows(model: Any, shared: int) -> None:
    reader, prefix, limit = PrefixReader(model), random_tokens(shared, 1), 4
    assert reader.supported
    fits = reader.window is None or shared + 7 + limit <= reader.window
    rows = [[*prefix, *random_tokens(length, 9 + length)] for length in ((7, 2, 4) if fits else (4, 4, 4))]
    expected = []
    for row in rows:
        ids = list(row)
        for _ in range(limit):
            ids.append(int(whole_row(model, ids)[-1].argmax()))
        expected.append(ids[len(row) :])
    generated = reader.generate(rows, reader.read_prefix(prefix), limit, lambda rows: [False] * len(rows))
    assert generated == expected


@pytest.mark.parametrize("shared", [0, 5, 30])
def test_packed_continuations_have_the_logits_of_whole_rows(model: Any, shared: int) -> None:
    reader = PrefixReader(model)
    assert reader.packs
    contexts = [[*random_tokens(shared, 1), *random_tokens(length, length)] for length in (3, 6)]
    continuations = [random_tokens(4, 21), random_tokens(1, 22), random_tokens(5, 23)]
    together = reader.window is None or shared + 11 <= reader.window
    rows, indices, expected = [], [], []
    for context in contexts:
        row = PackedRow(context)
        for continuation in continuations:
            row = row if together else PackedRow(context)
            if row not in rows:
                rows.append(row)
            indices += [(rows.index(row), index) for index in row.add(continuation)]
            expected.append(whole_row(model, [*context, *continuation[:-1]])[len(context) - 1 :])
    logits = reader.logits_at(rows, reader.read_prefix(contexts[0][:shared]), indices)
    assert torch.allclose(logits, torch.cat(expected), atol=1e-4 * float(torch.cat(expected).std()))


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_architectures_are_detected(name: str) -> None:
    reader = PrefixReader(random_model(*UNSUPPORTED[name]))
    assert not reader.supported and not reader.packs


def test_continuations_are_not_packed_if_the_architecture_takes_no_such_mask() -> None:
    assert not PrefixReader(random_model("falcon", {**FALCON, "alibi": True})).packs
    assert PrefixReader(random_model("falcon", FALCON)).packs


def test_the_prefix_is_read_once_and_ended_rows_are_not_computed_further() -> None:
    model = random_model(*SUPPORTED["llama"])
    reader, prefix = PrefixReader(model), random_tokens(20, 1)
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda module, args, options: shapes.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    rows = [[*prefix, *random_tokens(length, length)] for length in (1, 2, 3)]
    ended = iter([[False, True, False], [True, False], [False], [False]])
    generated = reader.generate(rows, reader.read_prefix(prefix), 4, lambda rows: next(ended))
    assert shapes == [(1, 20), (3, 3), (2, 1), (1, 1), (1, 1)]
    assert [len(tokens) for tokens in generated] == [2, 1, 4]


def test_a_prefix_takes_the_memory_of_one_row_until_rows_are_continued() -> None:
    reader = PrefixReader(random_model(*SUPPORTED["llama"]))
    prefix = reader.read_prefix(random_tokens(20, 1))
    layers: list[Any] = [prefix.cache(rows).layers[0] for rows in (1, 64)]
    single, many = layers
    assert many.keys.shape[0] == 64
    assert many.keys.data_ptr() == single.keys.data_ptr() and many.values.data_ptr() == single.values.data_ptr()
    before = single.keys.clone()
    reader.generate([[*prefix.ids, 5], [*prefix.ids, 6]], prefix, 2, lambda rows: [False] * len(rows))
    after: Any = prefix.cache(1).layers[0]
    assert torch.equal(after.keys, before)


def test_a_frozen_head_is_not_copied_for_every_row() -> None:
    model = random_model(*SUPPORTED["llama"]).requires_grad_(False)
    reader, head = PrefixReader(model), model.get_output_embeddings().weight
    rows = [random_tokens(5, seed) for seed in range(8)]
    with _LargestTensor() as largest:
        reader.generate(rows, reader.read_prefix([]), 2, lambda rows: [False] * len(rows))
    assert largest.elements < len(rows) * head.numel()


def test_a_head_that_the_architecture_does_not_name_is_read_as_it_is() -> None:
    model = random_model(*SUPPORTED["llama"])
    model.get_output_embeddings = lambda: None
    assert PrefixReader(model).supported


def test_a_head_with_other_inputs_than_hidden_states_gets_all_of_them() -> None:
    model = random_model(*SUPPORTED["llama"])
    ids = random_tokens(6, 1)
    expected = 2.0 * whole_row(model, ids)[-1]
    head = _Scaled(model.lm_head)
    model.lm_head, model.get_output_embeddings = _Doubled(head), lambda: head
    reader, row = PrefixReader(model), PackedRow(ids)
    assert reader.supported
    (logits,) = reader.logits_at([row], reader.read_prefix(ids[:2]), [(0, 5)])
    assert torch.allclose(logits, expected, atol=1e-5)


class _Scaled(torch.nn.Module):
    """A head that takes a factor, and the hidden states by name."""

    def __init__(self, linear: torch.nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, factor: float, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(states)
        return factor * logits


class _Doubled(torch.nn.Module):
    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(2.0, states=states)
        return logits


class _LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_continuations_with_the_same_tokens_to_read_share_them() -> None:
    row = PackedRow([1, 2, 3])
    assert row.add([4, 5, 6]) == [2, 3, 4]
    assert row.add([4, 5, 7]) == [2, 3, 4]
    assert row.add([8]) == [2]
    assert row.add([9, 6]) == [2, 5]
    assert (row.tokens, row.positions, row.parts) == ([1, 2, 3, 4, 5, 9], [0, 1, 2, 3, 4, 3], [0, 0, 0, 1, 1, 2])


@pytest.mark.parametrize("shared", [0, 5])
def test_equal_rows_are_read_once_and_continued_each_in_its_own_way(model: Any, shared: int) -> None:
    reader, prefix, limit = PrefixReader(model), random_tokens(shared, 1), 3
    first, second = ([*prefix, *random_tokens(4, seed)] for seed in (2, 3))
    rows = [first, second, first, first]
    likeliest = {0: 1, 1: 1, 2: 2, 3: 3}  # row → which of the likeliest tokens it takes
    expected = []
    for number, row in enumerate(rows):
        ids = list(row)
        for _ in range(limit):
            ids.append(int(whole_row(model, ids)[-1].topk(3).indices[likeliest[number] - 1]))
        expected.append(ids[len(row) :])
    sizes = []

    def pick(logits: torch.Tensor, numbers: Sequence[int]) -> list[int]:
        return [int(row.topk(3).indices[likeliest[n] - 1]) for row, n in zip(logits, numbers, strict=True)]

    hook = model.register_forward_pre_hook(
        lambda _, __, given: sizes.append(given["input_ids"].shape), with_kwargs=True
    )
    try:
        generated = reader.generate(rows, reader.read_prefix(prefix), limit, lambda rows: [False] * len(rows), pick)
    finally:
        hook.remove()
    assert generated == expected
    assert [tuple(size) for size in sizes][-limit:] == [(2, 4), *[(4, 1)] * (limit - 1)]
