"""Which token scores a method needs, and how they are combined for it.

The plan of a suite, the augment stage, `benchmark.augment` and the token view all use this module, so that their scores
are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.data.attention import AttentionPart
from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method, Needs
from benchmark.models.spec import ModelSpec
from benchmark.records.record import Role
from benchmark.scoring.contrast import contrast
from benchmark.scoring.scores import score_texts

_ROLES: Mapping[Needs, tuple[Role, ...]] = {
    "nothing": (),
    "tokens": (),
    "trained": ("trained",),
    "large": ("large",),
    "difference": ("large", "small"),
}


@dataclass(frozen=True)
class ScoreRequest:
    """Scores of a model that a method needs, as arguments of `score_texts`.

    Attributes:
        role: The model: the trained model, or the pair's large or small model.
        reduction: One of REDUCTIONS.
        prefix: Put before every text.
        part: Which part of the attention counts.
    """

    role: Role
    reduction: str
    prefix: str
    part: AttentionPart


def score_requests(method: Method, reduction: str, prefix: str) -> list[ScoreRequest]:
    """The scores that a method needs, under a suite's `scoring.reduction` and `scoring.prefix`.

    A method's own reduction takes precedence. Losses are computed without a prefix, since they are compared with losses
    in training, which has none.
    """
    reduction = method.reduction or reduction
    if reduction == "loss":
        prefix = ""
    return [ScoreRequest(role, reduction, prefix, method.attention(role)) for role in _ROLES[method.reads]]


def combined(scores: Mapping[Role, Sequence[TokenScores]]) -> list[TokenScores] | None:
    """Combine the scores that a method needs: those of a single model, or large minus small; None if it needs none."""
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
