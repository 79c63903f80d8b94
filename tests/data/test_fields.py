"""The order of a task's fields."""

import pytest

from benchmark.data.fields import field_order
from benchmark.data.people import FIELDS


def test_the_fields_of_biography_stand_in_the_order_of_its_lm_eval_group() -> None:
    assert field_order("biography") == FIELDS


@pytest.mark.parametrize(
    "task", ["wikipedia_mini", "no_such_task", "../biography/biography", "_biography", "corpus", ""]
)
def test_a_task_without_a_group_has_no_fields(task: str) -> None:
    assert field_order(task) == ()
