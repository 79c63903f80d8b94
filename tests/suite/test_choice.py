"""Successive halving against a plain implementation of the paper's rule, and confirming seeds."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmark.progress.account import Account
from benchmark.records.record import Record
from benchmark.runs import recording, runner
from benchmark.runs.folders import Folders
from benchmark.runs.runner import Outcome, SuiteRun, run_suite
from benchmark.suite.choice import searches
from benchmark.suite.plan import Cell, Plan, make_plan
from benchmark.suite.schema import Suite
from tests.tiny import InThisProcess, tiny_suite

ALPHAS = [0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6]


@pytest.fixture(scope="module")
def suite(tiny: Path) -> Suite:
    return tiny_suite(
        tiny,
        methods=["plain_matched", {"name": "random_dropout", "alpha": ALPHAS}],
        budgets=[{"steps": 10}, {"steps": 20}],
        seeds=[1, 2, 3, 4],
        choose={"over": ["alpha"], "halving": 3},
    )


def _steps(cell: Cell) -> int | None:
    assert cell.budget is not None
    return cell.budget.steps


def _score(cell: Cell) -> float:
    """Depends on everything a rung may look at: the higher alpha the better, with the noise of seed and budget."""
    alpha = cell.method.model_dump().get("alpha", 0.0)
    return float(alpha + 0.13 * ((cell.seed * 7 + int(alpha * 10) * 3 + (_steps(cell) or 0)) % 5) / 5)


def _records(cells: list[Cell]) -> Mapping[str, Record]:
    return cast(Mapping[str, Record], {cell.key: SimpleNamespace(development_score=_score(cell)) for cell in cells})


def _asked(plan: Plan) -> set[str]:
    """Keys of the cells that the searches of a plan ask for."""
    asked: list[Cell] = []
    for search in searches(plan):
        try:
            cells = next(search)
            while True:
                asked += cells
                cells = search.send(_records(asked))
        except StopIteration:
            continue
    assert len(asked) == len({cell.key for cell in asked})
    return {cell.key for cell in asked}


def _naive(plan: Plan) -> set[str]:
    """ASHA by hand for factor 3: rungs are 10 steps, then 20 steps with 1, 3 and 4 seeds."""
    wanted: set[str] = set()
    for method in ("plain_matched", "random_dropout"):
        of_method = [cell for cell in plan.cells if cell.method.name == method]
        came: dict[int, list[float]] = {}
        for alpha in dict.fromkeys(cell.method.model_dump().get("alpha") for cell in of_method):
            mine = [cell for cell in of_method if cell.method.model_dump().get("alpha") == alpha]
            by = {(_steps(cell), cell.seed): cell for cell in mine}
            rungs = [[(10, 1)], [(20, 1)], [(20, 1), (20, 2), (20, 3)], [(20, seed) for seed in (1, 2, 3, 4)]]
            for number, rung in enumerate(rungs):
                wanted |= {by[position].key for position in rung}
                value = sum(_score(by[position]) for position in rung) / len(rung)
                came.setdefault(number, []).append(value)
                best = sorted(came[number], reverse=True)[: max(1, len(came[number]) // 3)]
                if value < best[-1]:
                    break
    return wanted


def test_a_search_runs_the_cells_that_the_rule_selects(suite: Suite) -> None:
    plan = make_plan(suite)
    asked = _asked(plan)
    assert asked == _naive(plan)
    assert len(asked) < len(plan.cells) / 2
    best = [cell for cell in plan.cells if cell.method.model_dump().get("alpha") == 0.9 and _steps(cell) == 20]
    assert {cell.key for cell in best} <= asked


def test_points_that_stop_early_count_among_the_points_tried(suite: Suite) -> None:
    plan = make_plan(suite)
    assert {cell.method.name: plan.points(cell) for cell in plan.cells} == {"plain_matched": 1, "random_dropout": 9}


def test_a_budget_that_is_chosen_over_makes_points_instead_of_rungs(suite: Suite) -> None:
    content: dict[str, Any] = {"over": ["alpha", "budget"], "halving": 3}
    plan = make_plan(suite.model_copy(update={"choose": suite.choose and type(suite.choose)(**content)}))
    assert plan.points(next(cell for cell in plan.cells if cell.method.name == "random_dropout")) == 18
    assert all(len(next(search)) == 1 for search in searches(plan))


def test_a_run_does_the_cells_of_all_searches_together(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[list[Cell]] = []

    def run_cells(run: SuiteRun, cells: list[Cell]) -> Outcome:
        rounds.append(cells)
        return Outcome(run.plan, dict(_records(cells)), len(cells), 0)

    monkeypatch.setattr(SuiteRun, "run_cells", run_cells)
    outcome = run_suite(suite, tmp_path, tmp_path / "records")
    assert {cell.key for cells in rounds for cell in cells} == _naive(make_plan(suite))
    assert {cell.key for cell in outcome.plan.cells} == outcome.records.keys()
    assert outcome.made == len(outcome.records)
    assert {cell.method.name for cell in rounds[0]} == {"plain_matched", "random_dropout"}


def test_records_of_later_rounds_are_verified_like_those_of_the_first(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(suite)
    few = [cell for cell in plan.cells if cell.method.name == "random_dropout"][:2]

    def counted(path: Path, whole: Plan, cell: Cell) -> Any:
        return cell.key if whole.points(cell) == 9 else None  # what every record of the row says

    monkeypatch.setattr(recording, "good_record", counted)
    assert recording.split_by_record(plan, tmp_path, few)[1] == []
    monkeypatch.setattr(runner, "clean_up", lambda *_: None)
    run = SuiteRun(plan, Folders(tmp_path, tmp_path), InThisProcess(), Account(suite.name))
    assert run.run_cells(few).made == 0


# --- seeds that confirm


def _by_point(plan: Plan, best: float) -> dict[str, Any]:
    """Records whose exact match on the development half is highest at one α; their test halves are empty."""

    def scores(cell: Cell) -> dict[str, Any]:
        value = 1.0 if cell.method.model_dump().get("alpha") == best else 0.1 * cell.seed
        return {"biography_major": {"0": {"development": {"exact_match": value}}}}

    return {cell.key: SimpleNamespace(scores=scores(cell)) for cell in plan.cells}


def test_only_the_best_point_runs_with_the_confirming_seeds(tiny: Path) -> None:
    suite = tiny_suite(
        tiny,
        methods=["plain_matched", {"name": "random_dropout", "alpha": [0.1, 0.2, 0.3]}],
        seeds=[1, 2],
        choose={"over": ["alpha"], "confirm": [11, 12, 13]},
    )
    plan = make_plan(suite)
    assert {cell.seed for cell in plan.cells if cell.confirms} == {11, 12, 13}
    records = cast(Mapping[str, Record], _by_point(plan, best=0.2))
    asked: dict[str, list[list[Cell]]] = {}
    for search in searches(plan):
        first = next(search)
        second = search.send(records)
        asked[first[0].method.name] = [first, second]
        with pytest.raises(StopIteration):
            search.send(records)
    assert {(cell.method.model_dump()["alpha"], cell.seed) for cell in asked["random_dropout"][0]} == {
        (alpha, seed) for alpha in (0.1, 0.2, 0.3) for seed in (1, 2)
    }
    assert {(cell.method.model_dump()["alpha"], cell.seed) for cell in asked["random_dropout"][1]} == {
        (0.2, seed) for seed in (11, 12, 13)
    }
    assert {cell.seed for cell in asked["plain_matched"][1]} == {11, 12, 13}, "also a single point"


@pytest.mark.parametrize(
    ("choose", "says"),
    [
        ({"over": ["alpha"], "confirm": [2]}, "choose.confirm"),
        ({"over": ["alpha"], "confirm": [11], "halving": 3}, "halving"),
    ],
)
def test_confirming_seeds_must_be_new_and_exclude_halving(tiny: Path, choose: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tiny_suite(tiny, seeds=[1, 2], methods=[{"name": "random_dropout", "alpha": [0.1, 0.2]}], choose=choose)
