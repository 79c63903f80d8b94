"""How many optimizer steps a training takes, and in which order it reads its texts."""

import math
import random
from collections.abc import Callable, Sequence
from itertools import accumulate

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


def order_with_rehearsal(count: int, total: int, needed: int, share: float, seed: int) -> list[int]:
    """The order of texts numbered 0 to `count` − 1, with a share of rehearsal texts in between.

    Args:
        count: Texts of the corpus.
        total: All texts; those from `count` on are rehearsed.
        needed: Texts to read.
        share: Share of rehearsal texts.
        seed: Seed of both shuffles.
    """
    if not share:
        return data_order(count, needed, seed)
    turns = rehearsal_turns(needed, share)
    corpus = iter(data_order(count, needed - sum(turns), seed))
    rehearsal = iter(data_order(total - count, sum(turns), seed))
    return [count + next(rehearsal) if is_rehearsal else next(corpus) for is_rehearsal in turns]


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
    """The first optimizer step after which training has read at least that number of tokens.

    Args:
        tokens: Tokens to read.
        sequences: Token ids of every text.
        order_of: Gives the numbers of the first texts to read, given how many.
        batch: Texts of an optimizer step.
    """
    needed = batch
    while True:
        read = list(accumulate(len(sequences[number]) for number in order_of(needed)))
        if read[-1] >= tokens:
            return next(step for step in range(1, needed // batch + 1) if read[step * batch - 1] >= tokens)
        needed *= 2
