"""How many optimizer steps a training takes, and in which order it reads its texts."""

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.data.texts import AugmentedText
from benchmark.methods import METHODS
from benchmark.training.recipe import Budget
from benchmark.training.rehearsal import rehearsal_turns


def data_order(count: int, needed: int, seed: int) -> list[int]:
    """The numbers 0 to `count` − 1 shuffled again and again, cut at `needed` numbers."""
    rng = random.Random(f"order:{seed}")
    order: list[int] = []
    while len(order) < needed:
        order += rng.sample(range(count), count)
    return order[:needed]


@dataclass(frozen=True)
class ExtraTexts:
    """Texts that are not of the corpus: their first number, how many, and their share of what is read.

    The share is of every batch, as near as whole texts allow; with `first` they are all read before the corpus instead.
    """

    start: int
    count: int
    share: float
    first: bool = False


def reading_order(count: int, needed: int, seed: int, others: Sequence[ExtraTexts] = ()) -> list[int]:
    """The order of texts numbered 0 to `count` − 1, with other texts before or in between.

    Args:
        count: Texts of the corpus.
        needed: Texts to read.
        seed: Seed of all shuffles.
        others: Other texts; each group takes its share of the places that earlier groups leave free.
    """
    if not others:
        return data_order(count, needed, seed)
    group, *rest = others
    turns = rehearsal_turns(needed, group.share)
    if group.first:
        turns.sort(reverse=True)
    taken = iter(data_order(group.count, sum(turns), seed))
    left = iter(reading_order(count, needed - sum(turns), seed, rest))
    return [group.start + next(taken) if is_other else next(left) for is_other in turns]


def steps_for(budget: Budget, method: str, texts: Sequence[AugmentedText], copies: int, batch: int) -> int:
    """Optimizer steps of a method under a budget of steps or epochs.

    All matched methods take the same number of steps: that of a method which trains on originals and copies. A method
    that is not matched (plain) takes as many epochs over its own, fewer texts, and so fewer steps.

    Args:
        budget: A budget of steps or epochs.
        method: Name of the method.
        texts: Its training texts.
        copies: Copies that the suite asks for.
        batch: Texts of an optimizer step.
    """
    originals = len({text.id for text in texts})
    texts_of_an_epoch = originals * (copies + 1)
    # Rounded first: 0.1 × 1100 is a little more than 110 in floating point, and would be a step more.
    matched = budget.steps or math.ceil(round(float(budget.epochs or 0) * texts_of_an_epoch / batch, 6))
    return matched if METHODS[method].matched else max(1, math.ceil(matched * len(texts) / texts_of_an_epoch))


def tokens_for(tokens: int, method: str, texts: Sequence[AugmentedText], copies: int) -> int:
    """Tokens that a method reads under a budget of tokens; a method that is not matched reads its share of them."""
    if METHODS[method].matched:
        return tokens
    originals = len({text.id for text in texts})
    return math.ceil(tokens * len(texts) / (originals * (copies + 1)))


def steps_for_tokens(
    tokens: int, sequences: Sequence[list[int]], order_of: Callable[[int], list[int]], batch: int
) -> int:
    """The number of optimizer steps after which training has read at least that number of tokens, and no step more.

    Args:
        tokens: Tokens to read.
        sequences: Token ids of every text.
        order_of: Gives the numbers of the texts to read, given how many; more texts never have fewer tokens.
        batch: Texts of an optimizer step.
    """

    def read(steps: int) -> int:
        return sum(len(sequences[number]) for number in order_of(steps * batch))

    most = 1
    while read(most) < tokens:
        most *= 2
    return bisect_left(range(most), tokens, key=read)
