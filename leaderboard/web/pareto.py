"""Which rows give most for their cost."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (cost, value) whether no other point is at least as good in both and better in one.

    Cost is better where it is less, value where it is more. Points that are equal in both stand or fall together.
    """
    front = [False] * len(points)
    best, best_cost = float("-inf"), float("-inf")
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        cost, value = points[i]
        if value > best or (value == best and cost == best_cost):
            best, best_cost = value, cost
            front[i] = True
    return front
