"""Which cells of a grid are run next, in view of the records of those before: confirming seeds, and successive halving.

With confirming seeds, all points of a row are run with the suite's seeds, and the best one of them with the others. In
successive halving, points that do badly with few steps or seeds get no more of them: the rule is Optuna's
SuccessiveHalvingPruner, that is ASHA (Li et al., MLSys 2020): a point goes on to the next rung if it is among the best
1/factor of those that came to its rung so far, itself included. Points come in the order of the suite, so a run that
was cut off and is taken up again decides the same from the records.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from benchmark.records.record import Record, best_shots
from benchmark.suite.plan import Cell, Plan
from benchmark.suite.schema import Suite

Search = Generator[list[Cell], Mapping[str, Record], None]


def is_searched(suite: Suite) -> bool:
    """Whether some cells of a suite depend on the records of others."""
    return suite.choose is not None and bool(suite.choose.halving or suite.choose.confirm)


def searches(plan: Plan) -> Iterator[Search]:
    """One search per method, trained model, pair and task of a plan; references are one that ends at once."""
    choose = plan.suite.choose
    if choose is None or not is_searched(plan.suite):
        raise ValueError(f"suite {plan.suite.name!r} asks for no search")
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
    """Yield all cells to choose by, then those that confirm the best point."""
    records = yield [cell for cells in points for cell in cells if not cell.confirms]
    scores = [
        best_shots([records[cell.key].scores for cell in cells if not cell.confirms], "development")[1]
        for cells in points
    ]
    yield [cell for cell in points[scores.index(max(scores))] if cell.confirms]


def _rungs(cells: Sequence[Cell], suite: Suite) -> list[list[Cell]]:
    """A point's cells, rung by rung: the budgets in the order of the suite with the first seed, then more seeds.

    On every budget but the last there is one seed; on the last there are 1, factor, factor² and so on up to all.
    """
    factor = suite.choose.halving if suite.choose and suite.choose.halving else len(suite.seeds)
    budgets = list(dict.fromkeys(cell.budget for cell in cells))
    rungs = [[cell for cell in cells if cell.budget == budget][:1] for budget in budgets[:-1]]
    last = [cell for cell in cells if cell.budget == budgets[-1]]
    done, upto = 0, 1
    while done < len(last):
        rungs.append(last[done:upto])
        done, upto = min(upto, len(last)), upto * factor
    return rungs


def _halving(points: Sequence[Sequence[list[Cell]]], factor: int) -> Search:
    """Yield the cells that are needed next; the records of all cells so far are sent back.

    A point's score on a rung is the exact match on the development half, the mean over its seeds on that rung's budget.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for rungs in points:
        trial = study.ask()
        seen: list[Cell] = []
        value, pruned = 0.0, False
        for number, cells in enumerate(rungs):
            records = yield cells
            seen = [cell for cell in seen if cell.budget == cells[0].budget] + cells
            value = sum(records[cell.key].development_score for cell in seen) / len(seen)
            trial.report(value, step=factor**number)  # the resource at which this rung is full
            if pruned := trial.should_prune():
                break
        study.tell(trial, None if pruned else value, optuna.trial.TrialState.PRUNED if pruned else None)
