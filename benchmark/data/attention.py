"""Which attention a token score is made of: how it is reduced, and which part of it counts."""

from pydantic import BaseModel, ConfigDict

ATTENTION = ("received", "received_strict", "released")
REDUCTIONS = (*ATTENTION, "loss")


class AttentionPart(BaseModel):
    """Which part of a model's attention scores are the mean of; the default is all of it.

    Attributes:
        depth: lowest and highest share of the depth: of n layers, layer i (from 0) is in where (i + ½) / n lies between
            the two, so that the same numbers choose alike in models of unlike depth.
        heads: if there are any, these (layer, head), both from 0, and no others, whatever `depth` is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: tuple[float, float] = (0.0, 1.0)
    heads: tuple[tuple[int, int], ...] = ()
