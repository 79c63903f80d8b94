"""Make token views: texts scored with a pair of models, with the copies that a method makes and what it keeps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.core.errors import UserError
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import Text, TokenScores
from benchmark.data.token_views import Copy, Token, TokenView
from benchmark.methods import Method, augment, stream
from benchmark.methods.dropout import TokenDropout
from benchmark.methods.units import Unit, removable
from benchmark.models.spec import ModelSpec
from benchmark.scoring.contrast import contrast, shared_characters
from benchmark.scoring.encoding import unscored_tokens
from benchmark.scoring.requests import ScoreRequest, combined, requested_scores, score_requests
from benchmark.suite.schema import Suite

DIGITS = 6  # significant digits of the scores in a view


@dataclass(frozen=True)
class ScoredPair:
    """A pair of models, or one model alone, with how it scores texts.

    Attributes:
        name: Name of the pair.
        large: Name and spec of the large model.
        small: Name and spec of the small model; None without one.
        reduction: What a score is, one of `benchmark.data.attention.REDUCTIONS`.
        prefix: Put before every text and not scored; "auto" is the model's own start.
        device: "cpu" or "cuda".
    """

    name: str
    large: tuple[str, ModelSpec]
    small: tuple[str, ModelSpec] | None
    reduction: str = "received"
    prefix: str = "auto"
    device: str = "cpu"


def pairs_of(suite: Suite) -> list[ScoredPair]:
    """The pairs of a suite, scored as its stages score them. Raises UserError if the suite has no pair."""
    from benchmark.suite.plan import find_device

    if not suite.pairs:
        raise UserError(f"suite {suite.name!r}: pairs: there is none; name models with --large and --small")
    return [
        ScoredPair(
            name,
            (pair.large, suite.models[pair.large]),
            (pair.small, suite.models[pair.small]),
            suite.scoring.reduction,
            suite.scoring.prefix,
            find_device(suite.device),
        )
        for name, pair in suite.pairs.items()
    ]


def shipped_texts() -> list[tuple[str, Text]]:
    """The shipped examples with the task of each: the first person of each half and the first Wikipedia paragraph."""
    from benchmark.corpora import make_task

    return [
        (task, text)
        for task, count in (("biography", 2), ("wikipedia_mini", 1))
        for text in make_task({"name": task}).load().texts[:count]
    ]


def make_views(
    texts: Sequence[Text],
    pair: ScoredPair,
    method: Method,
    copies: int = 3,
    seed: int = 1,
    sources: Mapping[str, str] | None = None,
) -> list[TokenView]:
    """Make the views of texts.

    Scores are made as the method asks for them: with its own reduction, layers and heads, if it names any. A method
    that reads the trained model's scores gets those of the large model.

    Args:
        texts: The texts, each with its own id.
        pair: The models. A method that does not contrast needs no small one.
        method: Makes the copies. Only token dropouts have a probability to keep a token.
        copies: Number of copies of each text.
        seed: Seed of the copies; `benchmark augment` makes the same ones with it.
        sources: The task of a text, by the id of the text.

    Raises:
        UserError: A writer writes the method's copies, the method contrasts two models and there is only one, or as
            `score_texts` and `augment` do.
    """
    if method.writings:
        raise UserError(
            f"method {method.name!r}: a language model writes its copies, so no view shows what becomes of a token; "
            "name another method with --method"
        )
    if method.reads == "difference" and pair.small is None:
        raise UserError(f"method {method.name!r} contrasts two models: name the other one with --small")
    requests = {request.role: request for request in score_requests(method, pair.reduction, pair.prefix)}
    reduction = method.reduction or pair.reduction
    prefix = "" if reduction == "loss" else pair.prefix
    # A view shows both models' scores, also those that the method does not read.
    of_large = (
        requests.get("trained") or requests.get("large") or ScoreRequest("large", reduction, prefix, AttentionPart())
    )
    of_small = requests.get("small") or ScoreRequest("small", reduction, prefix, method.attention("small"))
    large = _scores(pair, pair.large[1], texts, of_large)
    small = _scores(pair, pair.small[1], texts, of_small) if pair.small else None
    difference = contrast(large, small) if small else None
    scores = {of_large.role: large, **({"small": small} if small else {})}
    tokens = combined({role: scores[role] for role in requests})
    if method.reads == "tokens":
        tokens = _tokens(pair, texts)
    method = method.fitted(texts, tokens)
    made = list(augment(method, texts, tokens, copies, seed))
    views = []
    for number, text in enumerate(texts):
        scored = tokens[number] if tokens else None
        own = [copy.text for copy in made if copy.id == text.id and copy.copy > 0]
        views.append(
            TokenView(
                id=text.id,
                source=(sources or {}).get(text.id, ""),
                pair=pair.name,
                large=pair.large[0],
                small=pair.small[0] if pair.small else None,
                method=method.label,
                parameters=method.recorded_parameters(),
                reduction=reduction,
                prefix=pair.prefix,
                seed=seed,
                text=text.text,
                tokens=_with_numbers(text, large[number], difference[number] if difference else None, scored, method),
                copies=_copies(text, large[number], scored, method, own, seed),
            )
        )
    return views


def _scores(pair: ScoredPair, spec: ModelSpec, texts: Sequence[Text], request: ScoreRequest) -> list[TokenScores]:
    return requested_scores(spec, request, texts, pair.device)


def _tokens(pair: ScoredPair, texts: Sequence[Text]) -> list[TokenScores]:
    from benchmark.models.loading import tokenizer_of

    return unscored_tokens(tokenizer_of(pair.large[1]), texts)


def _with_numbers(
    text: Text, large: TokenScores, difference: TokenScores | None, scored: TokenScores | None, method: Method
) -> tuple[Token, ...]:
    """The large model's tokens with their scores and the probability that a copy keeps them.

    The small model's score at a token is the large one's minus the difference: its own tokens may be cut elsewhere.
    """
    keep: list[float | None] = [None] * len(large.token)
    if isinstance(method, TokenDropout):
        probabilities = method.unit_probabilities(text, scored)
        numbers = _unit_of_each_token(large, [unit for unit, _ in probabilities])
        keep = [1.0 if number is None else 1 - probabilities[number][1] for number in numbers]
    tokens = []
    for number, score in enumerate(large.score):
        contrasted = difference.score[number] if difference else None
        tokens.append(
            Token(
                start=large.start[number],
                end=large.end[number],
                large=_rounded(score),
                small=None if contrasted is None else _rounded(score - contrasted),
                difference=None if contrasted is None else _rounded(contrasted),
                keep=None if (kept := keep[number]) is None else _rounded(kept),
            )
        )
    return tuple(tokens)


def _copies(
    text: Text, large: TokenScores, scored: TokenScores | None, method: Method, made: list[str], seed: int
) -> tuple[Copy, ...]:
    if not isinstance(method, TokenDropout):
        return tuple(Copy(text=copy) for copy in made)
    probabilities = method.unit_probabilities(text, scored)
    units = [unit for unit, _ in probabilities]
    numbers = _unit_of_each_token(large, units)
    copies = []
    for number, copy in enumerate(made, start=1):
        dropped = removable(text.text, units, method.draw(probabilities, stream(seed, text, number)))
        copies.append(Copy(text=copy, kept=tuple(unit not in dropped for unit in numbers)))
    return tuple(copies)


def _unit_of_each_token(tokens: TokenScores, units: Sequence[Unit]) -> list[int | None]:
    """For every token the number of the unit that shares most characters with it; None if no unit shares any."""
    starts, ends = [unit.start for unit in units], [unit.end for unit in units]
    numbers: list[int | None] = []
    for start, end in zip(tokens.start, tokens.end, strict=True):
        first, shared = shared_characters(starts, ends, start, end)
        numbers.append(first + shared.index(max(shared)) if shared else None)
    return numbers


def _rounded(value: float) -> float:
    """A score with DIGITS significant digits; −0 becomes 0."""
    return round(value, DIGITS - 1 - math.floor(math.log10(abs(value)))) + 0.0 if value else 0.0
