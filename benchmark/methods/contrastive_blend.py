"""Contrastive dropout with the attention of selected layers or heads."""

import re
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from benchmark.data.attention import AttentionPart
from benchmark.methods.base import Alpha
from benchmark.methods.contrastive_dropout import ContrastiveDropout

# "L3H0 L3H1": layer and head, both from 0. (As "3.0", YAML would read them as numbers, and 3.10 as 3.1.)
Heads = Annotated[str, Field(pattern=r"^(L\d+H\d+( L\d+H\d+)*)?$")]


class ContrastiveBlend(ContrastiveDropout):
    """Contrastive dropout whose scores average a part of the attention instead of all of it (ours, from no paper).

    Fields beside those of ContrastiveDropout: `low` and `high`, shares of the depth of each model. Layer i of n,
    counted from 0, is included if (i + ½) / n lies between the two; by default the upper half is. `large_heads` and
    `small_heads` name heads of one model that are used instead of its layers, such as "L3H0 L3H1", counted from 0.
    """

    name: ClassVar[str] = "contrastive_blend"

    low: Alpha = 0.5
    high: Alpha = 1.0
    large_heads: Heads = ""
    small_heads: Heads = ""

    @model_validator(mode="after")
    def _consistent(self) -> "ContrastiveBlend":
        if self.low > self.high:
            raise ValueError("low must not be above high")
        if self.large_heads and self.small_heads and (self.low, self.high) != (0.5, 1):
            raise ValueError("low and high have no effect where the heads of both models are given; remove them")
        return self

    def attention(self, role: str) -> AttentionPart:
        """The heads given for the model, or else the layers between low and high."""
        heads = {"large": self.large_heads, "small": self.small_heads}[role]
        if heads:
            numbers = {(int(layer), int(head)) for layer, head in re.findall(r"L(\d+)H(\d+)", heads)}
            return AttentionPart(heads=tuple(sorted(numbers)))
        return AttentionPart(depth=(self.low, self.high))
