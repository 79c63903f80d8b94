"""Makes token views: scores texts with a pair, and asks a method what it keeps and what copies it makes."""

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
from benchmark.scoring.requests import ScoreRequest, combined, score_requests
from benchmark.scoring.scores import contrast, score_texts, shared_characters, tokens_of
from benchmark.suite.schema import Suite

DIGITS = 6  # significant ones that a view keeps of a score


@dataclass(frozen=True)
class ScoredPair:
    """A pair as a view is made with it: names and specs, and how scores are made."""

    name: str
    large: tuple[str, ModelSpec]
    small: tuple[str, ModelSpec] | None
    reduction: str = "received"
    prefix: str = "auto"
    device: str = "cpu"


def pairs_of(suite: Suite) -> list[ScoredPair]:
    """The pairs of a suite, scored as its stages score them. Raises UserError if it has none."""
    from benchmark.suite.plan import find_device

    if not suite.pairs:
        raise UserError(f"suite {suite.name!r}: pairs: it has none; name models with --large and --small")
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
    """The examples: the first person of either half and the first paragraph that ships, with the task of each."""
    from benchmark.corpora import make_task

    found = []
    for task, count in (("biography", 2), ("wikipedia_mini", 1)):
        found += [(task, text) for text in make_task({"name": task}).load().texts[:count]]
    return found


def make_views(
    texts: Sequence[Text],
    pair: ScoredPair,
    method: Method,
    copies: int = 3,
    seed: int = 1,
    sources: Mapping[str, str] | None = None,
) -> list[TokenView]:
    """Make the views of some texts.

    Scores are made as the method has them made: with its own reduction, layers and heads where it names them. A method
    that looks at the trained model's scores gets those of the large one.

    Args:
        texts: what to look at, each with an id of its own.
        pair: the models; a pair without a small one will do for a method that contrasts nothing.
        method: what makes the copies. A view of one that is not a token dropout has scores and copies, no `keep`.
        copies: augmented copies per text.
        seed: of the copies: with the same one `benchmark augment` makes the same.
        sources: which task a text is of, by its id.

    Raises:
        UserError: if the method contrasts two models and there is one, or as `score_texts` and `augment` do.
    """
    if method.reads == "difference" and pair.small is None:
        raise UserError(f"method {method.name!r} contrasts two models: name the other one with --small")
    # What the page shows of the two models, asked for as the method asks for its own scores.
    asked = {request.role: request for request in score_requests(method, pair.reduction, pair.prefix)}
    reduction = method.reduction or pair.reduction
    prefix = "" if reduction == "loss" else pair.prefix
    first = asked.get("trained") or asked.get("large") or ScoreRequest("large", reduction, prefix, AttentionPart())
    second = asked.get("small") or ScoreRequest("small", reduction, prefix, method.attention("small"))
    large = _scores(pair, pair.large[1], texts, first)
    small = _scores(pair, pair.small[1], texts, second) if pair.small else None
    difference = contrast(large, small) if small else None
    found = {first.role: large, **({"small": small} if small else {})}
    tokens = combined({role: found[role] for role in asked})
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
    from benchmark.models.loading import load_model, tokenizer_of

    return score_texts(
        load_model(spec, pair.device),
        tokenizer_of(spec),
        texts,
        reduction=request.reduction,
        prefix=request.prefix,
        part=request.part,
    )


def _tokens(pair: ScoredPair, texts: Sequence[Text]) -> list[TokenScores]:
    from benchmark.models.loading import tokenizer_of

    return tokens_of(tokenizer_of(pair.large[1]), texts)


def _with_numbers(
    text: Text, large: TokenScores, difference: TokenScores | None, scored: TokenScores | None, method: Method
) -> tuple[Token, ...]:
    """The large model's tokens with their scores and the probability of being kept.

    The small model's score is what the difference takes off, so on the large model's tokens as well.
    """
    keep: list[float | None] = [None] * len(large.token)
    if isinstance(method, TokenDropout):
        fates = method.unit_probabilities(text, scored)
        places = _units_at(large, [unit for unit, _ in fates])
        keep = [1.0 if place is None else 1 - fates[place][1] for place in places]
    tokens = []
    for number, score in enumerate(large.score):
        off = difference.score[number] if difference else None
        tokens.append(
            Token(
                start=large.start[number],
                end=large.end[number],
                large=_rounded(score),
                small=None if off is None else _rounded(score - off),
                difference=None if off is None else _rounded(off),
                keep=None if (kept := keep[number]) is None else _rounded(kept),
            )
        )
    return tuple(tokens)


def _copies(
    text: Text, large: TokenScores, scored: TokenScores | None, method: Method, made: list[str], seed: int
) -> tuple[Copy, ...]:
    if not isinstance(method, TokenDropout):
        return tuple(Copy(text=copy) for copy in made)
    fates = method.unit_probabilities(text, scored)
    units = [unit for unit, _ in fates]
    places = _units_at(large, units)
    copies = []
    for number, copy in enumerate(made, start=1):
        dropped = removable(text.text, units, method.draw(fates, stream(seed, text, number)))
        copies.append(Copy(text=copy, kept=tuple(place not in dropped for place in places)))
    return tuple(copies)


def _units_at(tokens: TokenScores, units: Sequence[Unit]) -> list[int | None]:
    """For every token the number of the unit that shares most characters with it; None where none does."""
    starts, ends = [unit.start for unit in units], [unit.end for unit in units]
    found: list[int | None] = []
    for start, end in zip(tokens.start, tokens.end, strict=True):
        first, shared = shared_characters(starts, ends, start, end)
        found.append(first + shared.index(max(shared)) if shared else None)
    return found


def _rounded(value: float) -> float:
    return round(value, DIGITS - 1 - math.floor(math.log10(abs(value)))) + 0.0 if value else 0.0
