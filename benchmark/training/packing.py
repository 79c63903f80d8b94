"""The texts of a batch as tensors: several packed into a row where the model keeps them apart, else one per row."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

IGNORE = -100  # the label that the loss ignores
MASK_FREE_LENGTH = 1024  # tokens from which rows of a single text come without positions, and so without a mask


def pack(batch: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Put several texts in one row where they fit, so that shorter texts take less time.

    Rows are as long as the longest text. Positions restart at 0 with every text; from that, the mask functions of
    transformers keep attention within a text. The rest of a row is one more "text" whose labels are ignored.

    Such masks have longest² numbers per row. Long rows of one text each need no mask, since a token never sees what
    comes after it: they have no positions, and memory grows with the length only (`MASK_FREE_LENGTH`).

    Args:
        batch: Token ids of each text.
        pad: Token id that fills a row up.

    Returns:
        int64 tensors of shape (rows, longest): `input_ids`, `labels` and, but for long rows, `position_ids`.
    """
    longest = max(map(len, batch))
    rows: list[list[Sequence[int]]] = []
    room: list[int] = []
    for text in sorted(batch, key=len, reverse=True):
        number = next((number for number, free in enumerate(room) if free >= len(text)), None)
        if number is None:
            rows.append([])
            room.append(longest)
            number = len(rows) - 1
        rows[number].append(text)
        room[number] -= len(text)
    shape = (len(rows), longest)
    ids = torch.full(shape, pad, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    positions = torch.zeros(shape, dtype=torch.long)
    for number, row in enumerate(rows):
        start = 0
        for text in row:
            end = start + len(text)
            ids[number, start:end] = torch.tensor(text)
            labels[number, start + 1 : end] = ids[number, start + 1 : end]
            positions[number, start:end] = torch.arange(len(text))
            start = end
        positions[number, start:] = torch.arange(longest - start)
    if longest >= MASK_FREE_LENGTH and len(rows) == len(batch):
        return {"input_ids": ids, "labels": labels}
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


def pad_rows(batch: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Put each text in a row of its own, padded on the right.

    Returns:
        int64 tensors of shape (texts, longest): `input_ids`, `attention_mask` and `labels`.
    """
    texts = [torch.tensor(text) for text in batch]
    masks = [torch.ones_like(text) for text in texts]
    labels = [torch.cat([torch.tensor([IGNORE]), text[1:]]) for text in texts]
    return {
        "input_ids": pad_sequence(texts, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence(masks, batch_first=True, padding_value=0),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORE),
    }


def supports_packing(model: Any) -> bool:
    """Whether texts in one row do not influence each other. It is tried, since some architectures carry a state along.

    The logits of a text must be the same, to the last bit, whichever text stands before it.
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
