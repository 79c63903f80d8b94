"""Rows read on from a common beginning must come out as rows read whole, on every architecture that is read so."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from benchmark.models.reading import Reader, Row
from tests.models.random_models import FALCON, NOT_READ, READ, random_model


def drawn(count: int, seed: int) -> list[int]:
    ids: list[int] = torch.randint(1, 100, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return ids


@torch.no_grad()
def whole(model: Any, ids: Sequence[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0]
    return logits


@pytest.fixture(scope="module", params=READ)
def model(request: pytest.FixtureRequest) -> Any:
    return random_model(*READ[request.param])


@pytest.mark.parametrize("shared", [0, 5, 30])  # no beginning, one within the sliding windows, one beyond them
def test_generation_from_a_beginning_is_that_of_whole_rows(model: Any, shared: int) -> None:
    reader, begin, limit = Reader(model), drawn(shared, 1), 4
    assert reader.reads
    fits = reader.window is None or shared + 7 + limit <= reader.window
    rows = [[*begin, *drawn(length, 9 + length)] for length in ((7, 2, 4) if fits else (4, 4, 4))]
    expected = []
    for row in rows:
        ids = list(row)
        for _ in range(limit):
            ids.append(int(whole(model, ids)[-1].argmax()))
        expected.append(ids[len(row) :])
    found = reader.continued(rows, reader.begin(begin), limit, lambda made: [False] * len(made))
    assert found == expected


@pytest.mark.parametrize("shared", [0, 5, 30])
def test_continuations_are_predicted_as_in_whole_rows(model: Any, shared: int) -> None:
    reader = Reader(model)
    assert reader.packs
    contexts = [[*drawn(shared, 1), *drawn(length, length)] for length in (3, 6)]
    continuations = [drawn(4, 21), drawn(1, 22), drawn(5, 23)]
    together = reader.window is None or shared + 11 <= reader.window
    rows, places, expected = [], [], []
    for context in contexts:
        row = Row(context)
        for continuation in continuations:
            row = row if together else Row(context)
            if row not in rows:
                rows.append(row)
            places += [(rows.index(row), place) for place in row.add(continuation)]
            expected.append(whole(model, [*context, *continuation[:-1]])[len(context) - 1 :])
    found = reader.predicted(rows, reader.begin(contexts[0][:shared]), places)
    assert torch.allclose(found, torch.cat(expected), atol=1e-4 * float(torch.cat(expected).std()))


@pytest.mark.parametrize("name", NOT_READ)
def test_an_architecture_that_can_not_be_read_on_is_told(name: str) -> None:
    reader = Reader(random_model(*NOT_READ[name]))
    assert not reader.reads and not reader.packs


def test_continuations_do_not_share_rows_where_the_architecture_takes_no_such_mask() -> None:
    assert not Reader(random_model("falcon", {**FALCON, "alibi": True})).packs
    assert Reader(random_model("falcon", FALCON)).packs


def test_a_beginning_is_read_once_and_a_row_that_ended_no_more() -> None:
    model = random_model(*READ["llama"])
    reader, begin = Reader(model), drawn(20, 1)
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda module, args, options: shapes.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    rows = [[*begin, *drawn(length, length)] for length in (1, 2, 3)]
    lengths = iter([[False, True, False], [True, False], [False], [False]])
    found = reader.continued(rows, reader.begin(begin), 4, lambda made: next(lengths))
    assert shapes == [(1, 20), (3, 3), (2, 1), (1, 1), (1, 1)]
    assert [len(tokens) for tokens in found] == [2, 1, 4]


def test_a_beginning_takes_the_memory_of_one_row_until_rows_are_read_on() -> None:
    reader = Reader(random_model(*READ["llama"]))
    beginning = reader.begin(drawn(20, 1))
    layers: list[Any] = [beginning.cache(rows).layers[0] for rows in (1, 64)]
    one, many = layers
    assert many.keys.shape[0] == 64
    assert many.keys.data_ptr() == one.keys.data_ptr() and many.values.data_ptr() == one.values.data_ptr()
    before = one.keys.clone()
    reader.continued([[*beginning.ids, 5], [*beginning.ids, 6]], beginning, 2, lambda made: [False] * len(made))
    after: Any = beginning.cache(1).layers[0]
    assert torch.equal(after.keys, before)


def test_continuations_with_the_same_tokens_to_be_read_share_them() -> None:
    row = Row([1, 2, 3])
    assert row.add([4, 5, 6]) == [2, 3, 4]
    assert row.add([4, 5, 7]) == [2, 3, 4]
    assert row.add([8]) == [2]
    assert row.add([9, 6]) == [2, 5]
    assert (row.tokens, row.positions, row.parts) == ([1, 2, 3, 4, 5, 9], [0, 1, 2, 3, 4, 3], [0, 0, 0, 1, 1, 2])
