"""Stage files: stages are read as they were written, and other files are rejected in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.store.calls import as_dict, read_call, write_call, write_calls
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import find_suite, load_suite


def test_every_stage_of_a_suite_is_read_as_written_with_its_key_and_inputs(tmp_path: Path) -> None:
    calls = make_plan(load_suite(find_suite("smoke"))).calls()
    files = write_calls(tmp_path, calls)
    assert [file.name[:4] for file in files] == [f"{number:04}" for number in range(1, len(calls) + 1)]
    for file, call in zip(files, calls, strict=True):
        read = read_call(file)
        assert (read, read.key) == (call, call.key)
    assert write_calls(tmp_path, calls) == files, "writing the same plan again changes nothing"


def test_a_folder_with_stages_of_another_plan_is_rejected(tmp_path: Path) -> None:
    calls = make_plan(load_suite(find_suite("smoke"))).calls()
    write_calls(tmp_path, calls)
    with pytest.raises(UserError, match=r"holds \d+ other stages \(00\d\d-.*give an empty folder"):
        write_calls(tmp_path, calls[:-1])


def _changed(content: dict[str, Any], **changes: Any) -> str:
    return json.dumps(content | changes)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"call\.json: No such file or directory; give a file that"),
        ("no JSON", r"call\.json: not a stage; give a file that `benchmark plan --stages FOLDER` wrote"),
        ("a list", r"call\.json: not a stage"),
        ("another version", r"call\.json: version 99 of stage 'augment' is not that of this code"),
        ("another stage", r"call\.json: version 1 of stage '\.\./x' is not"),
    ],
)
def test_a_file_without_a_stage_is_rejected_in_one_line(tmp_path: Path, kind: str, message: str) -> None:
    call = next(call for call in make_plan(load_suite(find_suite("smoke"))).calls() if call.stage == "augment")
    file, content = tmp_path / "call.json", as_dict(call)
    texts = {
        "no JSON": "{",
        "a list": "[1]",
        "another version": _changed(content, version=99),
        "another stage": _changed(content, stage="../x"),
    }
    if kind in texts:
        file.write_text(texts[kind])
    with pytest.raises(UserError, match=message):
        read_call(file)


def test_the_inputs_of_a_stage_must_have_the_versions_of_this_code_too(tmp_path: Path) -> None:
    augment = next(call for call in make_plan(load_suite(find_suite("smoke"))).calls() if call.stage == "augment")
    write_call(file := tmp_path / "call.json", augment)
    content = json.loads(file.read_text())
    content["inputs"]["corpus"]["stage"] = "nothing"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="version 1 of stage 'nothing'"):
        read_call(file)
