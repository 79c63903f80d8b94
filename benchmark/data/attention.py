"""Names of the token scores, and which layers and heads of a model they average over."""

from pydantic import BaseModel, ConfigDict

ATTENTION = ("received", "received_strict", "released")
REDUCTIONS = (*ATTENTION, "loss")


class AttentionPart(BaseModel):
    """The layers and heads that an attention score averages over; by default all of them.

    Attributes:
        depth: Lowest and highest relative depth: of n layers, layer i (from 0) counts if (i + ½) / n lies between the
            two, so that the same numbers choose similar layers in models of different depth.
        heads: If given, only these (layer, head) pairs count, both from 0, and `depth` is ignored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: tuple[float, float] = (0.0, 1.0)
    heads: tuple[tuple[int, int], ...] = ()
