"""Token views: what two models attend to in a text, and the copies a method makes of it; and their file format.

`leaderboard/tokens/<pair>.json` is a list of views, one per line. `benchmark.inspection` makes views. This module does
not import torch, because pages read these files.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.core.errors import UserError

Quantity = Literal["large", "small", "difference", "keep"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

CLIP = 0.9  # share of the tokens whose colours differ by value; those with higher values have the strongest colour


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Token(_Frozen):
    """One token of the large model's tokenizer with its scores.

    Attributes:
        start: Character offset of the first character.
        end: Character offset after the last character.
        large: The large model's score.
        small: The small model's score; None without a small model.
        difference: `large` minus `small`; None without a small model.
        keep: Probability that a copy keeps the token; None if the method drops no tokens.
    """

    start: int = Field(ge=0)
    end: int
    large: float
    small: float | None = None
    difference: float | None = None
    keep: float | None = Field(default=None, ge=0, le=1)


class Copy(_Frozen):
    """One augmented copy. `kept` says for each token whether the copy has it; None if the method drops no tokens."""

    text: str
    kept: tuple[bool, ...] | None = None


class TokenView(_Frozen):
    """One text under one pair of models and one method.

    Attributes:
        id: The text's id.
        source: The task that the text belongs to.
        pair: Name of the pair.
        large: Name of the large model.
        small: Name of the small model.
        method: The method's label.
        parameters: The method's parameters.
        reduction: How attention was reduced to scores.
        prefix: The text put before the scored text.
        seed: Seed of the copies.
        text: The text itself.
        tokens: Its tokens, in text order.
        copies: Copies that the method made.
    """

    id: str
    source: str = ""
    pair: str
    large: str
    small: str | None = None
    method: str
    parameters: dict[str, Any] = {}
    reduction: str = "received"
    prefix: str = ""
    seed: int = 1
    text: str
    tokens: tuple[Token, ...] = Field(min_length=1)
    copies: tuple[Copy, ...] = ()

    @model_validator(mode="after")
    def _fits_the_text(self) -> Self:
        position = 0
        for number, token in enumerate(self.tokens):
            if not position <= token.start < token.end <= len(self.text):
                raise ValueError(f"tokens[{number}]: characters {token.start} to {token.end} overlap or leave the text")
            position = token.end
        for number, copy in enumerate(self.copies):
            if copy.kept is not None and len(copy.kept) != len(self.tokens):
                raise ValueError(
                    f"copies[{number}].kept: {len(copy.kept)} entries for a text of {len(self.tokens)} tokens"
                )
        return self

    def values(self, quantity: Quantity) -> list[float] | None:
        """One number per token; None if the view lacks that quantity."""
        values = [getattr(token, quantity) for token in self.tokens]
        return None if any(value is None for value in values) else values


def strongest(values: Sequence[float], quantity: Quantity) -> float:
    """The value that gets the strongest colour: the CLIP quantile of the absolute values, never 0.

    One or two tokens, usually the first, receive many times the attention of the others. Without this limit all others
    would look the same. For probabilities the limit is 1.
    """
    if quantity == "keep":
        return 1.0
    amounts = sorted(map(abs, values))
    return amounts[math.ceil(CLIP * len(amounts)) - 1] or amounts[-1] or 1.0


def shades(values: Sequence[float], quantity: Quantity) -> list[float]:
    """The strength of each token's colour: from 0 to 1, and down to −1 for negative differences."""
    limit = strongest(values, quantity)
    return [max(-1.0, min(1.0, value / limit)) for value in values]


def views_json(views: Iterable[TokenView]) -> str:
    """The content of a file of views: a JSON list with one view per line."""
    return "[\n" + ",\n".join(view.model_dump_json() for view in views) + "\n]\n"


def read_views(file: Path) -> tuple[TokenView, ...]:
    """Read and check a file of views; raises UserError naming the file and the invalid field."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, list):
            raise UserError(f"{file}: expected a list of token views; make it again with `benchmark show tokens`")
        return tuple(TokenView.model_validate(view) for view in content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "view"
        raise UserError(f"{file}: {where}: {first['msg']}; make it again with `benchmark show tokens`") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{file}: not readable as JSON: {error}; make it again with `benchmark show tokens`") from None


def read_folder(folder: Path) -> dict[str, tuple[TokenView, ...]]:
    """The views of all files in a folder, by the pair's name; empty if the folder is missing."""
    views: dict[str, tuple[TokenView, ...]] = {}
    for file in sorted(folder.glob("*.json")):
        for view in read_views(file):
            views[view.pair] = (*views.get(view.pair, ()), view)
    return views
