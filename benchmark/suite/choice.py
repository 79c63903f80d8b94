"""Searches over a grid: which cells run next, given the records so far. With confirming seeds or successive halving.

With confirming seeds, all points of a row run with the suite's seeds; then the best point runs with the confirming
seeds. In successive halving, points that do badly with few steps or seeds stop early. The rule is Optuna's
SuccessiveHalvingPruner, that is ASHA (Li et al., MLSys 2020): a point advances to the next rung if it is among the best
1/factor of the points that reached its rung so far, itself included. Points come in the order of the suite, so an
interrupted run that is continued makes the same decisions from the records.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from benchmark.records.record import Record
from benchmark.records.scores import best_shots
from benchmark.suite.plan import Cell, Plan
from benchmark.suite.schema import Suite

Search = Generator[list[Cell], Mapping[str, Record], None]


def is_searched(suite: Suite) -> bool:
    """Whether the choice of some cells depends on the records of others."""
    return suite.choose is not None and bool(suite.choose.halving or suite.choose.confirm)


def in_rounds(
    plan: Plan, records_of: Callable[[list[Cell]], Mapping[str, Record]]
) -> tuple[list[Cell], dict[str, Record]]:
    """Go through the cells of a plan: all at once, or round by round as its searches want them.

    Args:
        plan: The plan.
        records_of: Called with the cells of each round; gives their records by the cells' keys.

    Returns:
        The cells of all rounds, and their records.
    """
    if not is_searched(plan.suite):
        return plan.cells, dict(records_of(plan.cells))
    cells: list[Cell] = []
    records: dict[str, Record] = {}
    active = [(search, next(search)) for search in searches(plan)]
    while active:
        wanted = [cell for _, of_search in active for cell in of_search]
        cells += wanted
        records |= records_of(wanted)
        unfinished = []
        for search, _ in active:
            with suppress(StopIteration):
                unfinished.append((search, search.send(records)))
        active = unfinished
    return cells, records


def searches(plan: Plan) -> Iterator[Search]:
    """Yield a search for each method, trained model, pair and task of a plan, and one for all references together."""
    choose = plan.suite.choose
    if choose is None or not is_searched(plan.suite):
        raise ValueError(f"suite {plan.suite.name!r} has no search")
    rows: dict[Any, dict[Any, list[Cell]]] = {}
    for cell in plan.cells:
        if cell.recipe:
            budget = "" if choose.halving or "budget" in choose.over else cell.budget_label
            rows.setdefault((*cell.row, budget), {}).setdefault(cell.point, []).append(cell)
    if references := [cell for cell in plan.cells if cell.recipe is None]:
        yield _all_at_once(references)
    for points in rows.values():
        if choose.halving:
            yield _halving([_rungs(cells, plan.suite) for cells in points.values()], choose.halving)
        else:
            yield _confirming(list(points.values()))


def _all_at_once(cells: list[Cell]) -> Search:
    yield cells


def _confirming(points: Sequence[Sequence[Cell]]) -> Search:
    """Yield the cells to choose by, then the cells that confirm the best point."""
    records = yield [cell for cells in points for cell in cells if not cell.confirms]
    scores = [
        best_shots([records[cell.key].scores for cell in cells if not cell.confirms], "development")[1]
        for cells in points
    ]
    yield [cell for cell in points[scores.index(max(scores))] if cell.confirms]


def _rungs(cells: Sequence[Cell], suite: Suite) -> list[list[Cell]]:
    """A point's cells, rung by rung: first the budgets in the order of the suite, then more seeds on the last budget.

    Every budget but the last has one seed. The last has 1, factor, factor² … seeds, up to all of them.
    """
    factor = suite.choose.halving if suite.choose and suite.choose.halving else len(suite.seeds)
    budgets = list(dict.fromkeys(cell.budget for cell in cells))
    rungs = [[cell for cell in cells if cell.budget == budget][:1] for budget in budgets[:-1]]
    last = [cell for cell in cells if cell.budget == budgets[-1]]
    start, end = 0, 1
    while start < len(last):
        rungs.append(last[start:end])
        start, end = min(end, len(last)), end * factor
    return rungs


def _halving(points: Sequence[Sequence[list[Cell]]], factor: int) -> Search:
    """Yield the cells to run next; the caller sends back the records of all cells so far.

    A point's score on a rung is its mean exact match on the development half over its seeds with that rung's budget.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for rungs in points:
        trial = study.ask()
        scored: list[Cell] = []
        value, pruned = 0.0, False
        for number, cells in enumerate(rungs):
            records = yield cells
            scored = [cell for cell in scored if cell.budget == cells[0].budget] + cells
            value = sum(records[cell.key].development_score for cell in scored) / len(scored)
            trial.report(value, step=factor**number)  # the resource at which this rung is full
            if pruned := trial.should_prune():
                break
        study.tell(trial, None if pruned else value, optuna.trial.TrialState.PRUNED if pruned else None)
