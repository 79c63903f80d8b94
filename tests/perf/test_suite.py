from benchmark.records.record import REFERENCES
from benchmark.suite.entries import MethodEntry
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite, find_suite, load_suite
from perf.suite import _only, smaller


def test_a_suite_of_one_cell_has_the_same_cell_key() -> None:
    """The same key: the same stages with the same parameters, and nothing beside them."""
    suite = load_suite(find_suite("every_method"))
    content = smaller(suite, seeds=1)
    content["methods"] = [method for method in content["methods"] if method["name"] != "texts"]
    cells = make_plan(Suite.model_validate(content)).cells
    trained = [cell for cell in cells if cell.budget]
    points = sum(len(MethodEntry.model_validate(method).points()) for method in content["methods"])
    assert len(trained) == len(cells) - 2 * len(REFERENCES) == points, "each method of one model"
    for cell in trained:
        (alone,) = make_plan(Suite.model_validate(_only(content, cell))).cells
        assert alone.key == cell.key


def test_the_cells_of_a_smaller_suite_are_cells_of_the_whole() -> None:
    whole = make_plan(tiny := load_suite(find_suite("tiny"))).cells
    assert {cell.key for cell in make_plan(Suite.model_validate(smaller(tiny))).cells} == {cell.key for cell in whole}
    content = smaller(tiny, seeds=2, train=["tiny-small"])
    part = {cell.key for cell in make_plan(Suite.model_validate(content)).cells}
    seeds = {0, 1, 2}  # 0 is that of models that are not trained
    expected = {cell.key for cell in whole if cell.trained == "tiny-small" and cell.seed in seeds}
    assert part == expected and len(part) < len(whole) / 4
    few = make_plan(Suite.model_validate(smaller(tiny, steps=7, seeds=1))).cells
    assert {(cell.budget.steps, cell.seed) for cell in few if cell.budget} == {(7, 1)}


def test_methods_for_models_that_are_not_trained_are_left_out() -> None:
    methods = ["plain", {"name": "eda", "for": ["a", "b"]}, {"name": "aeda", "for": ["b"]}]
    content = {"models": {"a": "zoo:large", "b": "zoo:small"}, "tasks": ["biography"], "budgets": [{"steps": 1}]}
    suite = Suite.model_validate({**content, "name": "x", "train": ["a", "b"], "methods": methods})
    left = [(method["name"], method.get("for")) for method in smaller(suite, train=["a"])["methods"]]
    assert left == [("plain", None), ("eda", ["a"])]
