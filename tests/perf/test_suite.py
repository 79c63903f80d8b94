from typing import Any

from benchmark.plan import make_plan
from benchmark.suite import Suite, find_suite, load_suite
from perf.suite import _listed, _only


def test_a_suite_of_one_cell_has_that_very_cell() -> None:
    """The same key: the same stages with the same parameters, and nothing beside them."""
    suite = load_suite(find_suite("every_method"))
    content = suite.model_dump(mode="json", by_alias=True, exclude_none=True)
    (content["recipe"],) = content.pop("recipe")
    content["methods"] = [method for method in content["methods"] if method["name"] != "texts"]
    content["seeds"] = [1]
    cells = make_plan(Suite.model_validate(content)).cells
    assert len(cells) == 13
    for cell in cells:
        (alone,) = make_plan(Suite.model_validate(_only(content, cell))).cells
        assert alone.key == cell.key


def test_methods_of_models_that_are_not_trained_are_left_out() -> None:
    eda, aeda = {"name": "eda", "for": ["a", "b"]}, {"name": "aeda", "for": ["b"]}
    methods: list[dict[str, Any]] = [{"name": "plain"}, eda, aeda]
    assert _listed(methods, ["a"]) == [{"name": "plain"}, {"name": "eda", "for": ["a"]}]
