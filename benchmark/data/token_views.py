"""The token view: what two models attend to in a text, and what a method makes of it. Made elsewhere, read here.

`leaderboard/tokens/<pair>.json` is a list of views, one a line. No torch in here: pages read these files.
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

CLIP = 0.9  # share of the tokens whose colour tells them apart; those above it share the strongest


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Token(_Frozen):
    """Characters [start, end) of the text, as the large model cuts it, and their scores.

    `large` and `small` are the two models' scores, `difference` is the first minus the second, and `keep` the
    probability that a copy keeps the token; None where there is no such model, or the method drops no tokens.
    """

    start: int = Field(ge=0)
    end: int
    large: float
    small: float | None = None
    difference: float | None = None
    keep: float | None = Field(default=None, ge=0, le=1)


class Copy(_Frozen):
    """One augmented copy; `kept` says of every token whether it is in it, None where the method drops no tokens."""

    text: str
    kept: tuple[bool, ...] | None = None


class TokenView(_Frozen):
    """One text under one pair and one method.

    `id` and `source` say which text of which task it is; `large` and `small` name the models, `method` is the method's
    label. `reduction` says how attention became scores, `prefix` is what stood before the text, `seed` is that of the
    copies.
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
        place = 0
        for number, token in enumerate(self.tokens):
            if not place <= token.start < token.end <= len(self.text):
                raise ValueError(f"tokens[{number}]: characters {token.start} to {token.end} do not follow on the last")
            place = token.end
        for number, copy in enumerate(self.copies):
            if copy.kept is not None and len(copy.kept) != len(self.tokens):
                raise ValueError(
                    f"copies[{number}].kept: {len(copy.kept)} entries for a text of {len(self.tokens)} tokens"
                )
        return self

    def values(self, quantity: Quantity) -> list[float] | None:
        """One number per token; None where the view does not have that quantity."""
        found = [getattr(token, quantity) for token in self.tokens]
        return None if any(value is None for value in found) else found


def strongest(values: Sequence[float], quantity: Quantity) -> float:
    """The amount at which colours are at their strongest: the CLIP quantile of the absolute values, never 0.

    A token or two, as a rule the first, draw many times the attention of the others; without a limit these would all
    look alike. Probabilities are at their strongest at 1.
    """
    if quantity == "keep":
        return 1.0
    amounts = sorted(map(abs, values))
    return amounts[math.ceil(CLIP * len(amounts)) - 1] or amounts[-1] or 1.0


def shades(values: Sequence[float], quantity: Quantity) -> list[float]:
    """How strong the colour of every token is: from 0 to 1, and down to −1 for differences below 0."""
    limit = strongest(values, quantity)
    return [max(-1.0, min(1.0, value / limit)) for value in values]


def views_json(views: Iterable[TokenView]) -> str:
    """The content of a file of views: a JSON list, one view a line."""
    return "[\n" + ",\n".join(view.model_dump_json() for view in views) + "\n]\n"


def read_views(file: Path) -> tuple[TokenView, ...]:
    """Read and check a file of views. Raises UserError naming the file and the field that does not fit."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, list):
            raise UserError(f"{file}: expected a list of token views; make it anew with benchmark show tokens")
        return tuple(TokenView.model_validate(view) for view in content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "view"
        raise UserError(f"{file}: {where}: {first['msg']}; make it anew with benchmark show tokens") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{file}: not readable as JSON: {error}; make it anew with benchmark show tokens") from None


def read_folder(folder: Path) -> dict[str, tuple[TokenView, ...]]:
    """The views of every file of a folder, by the pair's name; nothing if there is no such folder."""
    found: dict[str, tuple[TokenView, ...]] = {}
    for file in sorted(folder.glob("*.json")):
        for view in read_views(file):
            found[view.pair] = (*found.get(view.pair, ()), view)
    return found
