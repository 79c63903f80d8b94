"""Which token scores a method asks for, and how they become what the method reads.

A plan, the augment stage, `benchmark.augment` and the token view all use this module, so that they score alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.data.attention import AttentionPart
from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method, Needs
from benchmark.models.spec import ModelSpec
from benchmark.records.record import Role
from benchmark.scoring.scores import contrast, score_texts

_ROLES: Mapping[Needs, tuple[Role, ...]] = {
    "nothing": (),
    "tokens": (),
    "trained": ("trained",),
    "large": ("large",),
    "difference": ("large", "small"),
}


@dataclass(frozen=True)
class ScoreRequest:
    """The scores of one model that a method asks for, as arguments of `score_texts`.

    Attributes:
        role: Whose scores: the trained model's, or those of the pair's large or small model.
        reduction: One of REDUCTIONS.
        prefix: Put before every text.
        part: Which part of the attention counts.
    """

    role: Role
    reduction: str
    prefix: str
    part: AttentionPart


def score_requests(method: Method, reduction: str, prefix: str) -> list[ScoreRequest]:
    """The scores that a method asks for, under a suite's `scoring.reduction` and `scoring.prefix`.

    A method with a reduction of its own keeps it. Losses are taken without a prefix: training reads none, and its
    losses are what they are compared with.
    """
    chosen = method.reduction or reduction
    before = "" if chosen == "loss" else prefix
    return [ScoreRequest(role, chosen, before, method.attention(role)) for role in _ROLES[method.reads]]


def combined(scores: Mapping[Role, Sequence[TokenScores]]) -> list[TokenScores] | None:
    """What a method reads, given the scores it asked for: those of one model, or large minus small; None for none."""
    if "small" in scores:
        return contrast(scores["large"], scores["small"])
    return next((list(of_role) for of_role in scores.values()), None)


def requested_scores(spec: ModelSpec, request: ScoreRequest, texts: Sequence[Text], device: str) -> list[TokenScores]:
    """Load a model on `device` ("cpu" or "cuda") and score texts as a request says."""
    from benchmark.models.loading import load_model, tokenizer_of

    return score_texts(
        load_model(spec, device),
        tokenizer_of(spec),
        texts,
        reduction=request.reduction,
        prefix=request.prefix,
        part=request.part,
    )
