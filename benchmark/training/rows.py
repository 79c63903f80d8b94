"""The texts of a batch as tensors: several in a row where the model keeps them apart, else one a row."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

IGNORE = -100  # the label that the loss leaves out
UNMASKED = 1024  # tokens from which on rows of a single text come without positions, and so without a mask


def in_rows(batch: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Put several texts in one row where they fit, so that dropping tokens saves time.

    Rows are as long as the longest text. Positions start anew with every text, from which transformers' mask functions
    make attention stay within a text; the rest of a row is one more "text" whose labels are ignored.

    Those masks have longest² numbers a row. Long rows of one text each need none: no text sees what comes after it, so
    there are no positions then, attention skips what it would mask, and memory grows with the length alone.

    Returns int64 tensors `input_ids`, `position_ids` (but for such rows) and `labels`, each of shape [rows, longest].
    """
    longest = max(map(len, batch))
    rows: list[list[Sequence[int]]] = []
    room: list[int] = []
    for text in sorted(batch, key=len, reverse=True):
        place = next((i for i, free in enumerate(room) if free >= len(text)), None)
        if place is None:
            rows.append([])
            room.append(longest)
            place = len(rows) - 1
        rows[place].append(text)
        room[place] -= len(text)
    shape = (len(rows), longest)
    ids = torch.full(shape, pad, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    positions = torch.zeros(shape, dtype=torch.long)
    for number, row in enumerate(rows):
        at = 0
        for text in row:
            end = at + len(text)
            ids[number, at:end] = torch.tensor(text)
            labels[number, at + 1 : end] = ids[number, at + 1 : end]
            positions[number, at:end] = torch.arange(len(text))
            at = end
        positions[number, at:] = torch.arange(longest - at)
    if longest >= UNMASKED and len(rows) == len(batch):
        return {"input_ids": ids, "labels": labels}
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


def padded(batch: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """One text a row, padded on the right: int64 `input_ids`, `attention_mask`, `labels`, all [texts, longest]."""
    texts = [torch.tensor(text) for text in batch]
    masks = [torch.ones_like(text) for text in texts]
    labels = [torch.cat([torch.tensor([IGNORE]), text[1:]]) for text in texts]
    return {
        "input_ids": pad_sequence(texts, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence(masks, batch_first=True, padding_value=0),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORE),
    }


def keeps_rows_apart(model: Any) -> bool:
    """Whether texts in one row do not see each other. Tried out, for some architectures carry a state along the row.

    A text must come out the same, to the last bit, whichever text stands before it.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if "position_ids" not in inspect.signature(base.forward).parameters:
        return False
    was_training = base.training
    base.eval()
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]], device=base.device)
    with torch.no_grad():
        rows = (torch.tensor([[*before, 5, 3, 4]], device=base.device) for before in ((1, 1, 2), (4, 5, 3)))
        first, second = (base(input_ids=row, position_ids=positions).logits[:, 3:] for row in rows)
    base.train(was_training)
    return torch.equal(first, second)
