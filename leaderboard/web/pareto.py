"""The Pareto front: rows that no other row beats in both cost and value."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point is on the Pareto front: no other point is at least as good in both and better in one.

    Points that are equal in both are on the front together or not at all.

    Args:
        points: Pairs (cost, value). Lower costs and higher values are better.
    """
    front = [False] * len(points)
    best, best_cost = float("-inf"), float("-inf")
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        cost, value = points[i]
        if value > best or (value == best and cost == best_cost):
            best, best_cost = value, cost
            front[i] = True
    return front
