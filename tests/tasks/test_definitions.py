"""The definition of a task, which distinguishes records of tasks with different questions."""

import hashlib
import json
from pathlib import Path

import pytest

from benchmark import ROOT
from benchmark.corpora import TASK_KINDS, base
from benchmark.corpora.base import definition_hash, earlier_definitions, tree_hash
from benchmark.tasks.biography import biography
from benchmark.tasks.wikipedia import wikipedia

# Of the questions as the code asked them that the first records were made with.
QUESTIONS = "907c4f0e50a2052366a9e4daf6c4891a9d28ea3bb19f1c0a8b9280c72720f79e"
SHOTS = "19d7477d0fe321ec2d75fd541502f25826aa506993234c3acc80274680975364"
# Of the cloze questions before their ends were moved to the ends of tokens.
CLOZE = "e348cbecba3e900180ea4b0bbd63c1c2eba922ba847972b3fe1fb4462e166d47"
CLOZE_MINI = "27af3070ecfc45993a529bc050da7e8a7cbe31863bfda2908a3e1f9c242664b8"


def test_the_questions_are_exactly_those_of_the_first_records() -> None:
    made = biography.load(half="all", choices=True)
    # `source` came later, and is read by `answered` alone.
    lists = [made[split].remove_columns("source").to_list() for split in ("questions", "shots")]
    texts = [json.dumps(rows, sort_keys=True).encode() for rows in lists]
    assert [hashlib.sha256(text).hexdigest() for text in texts] == [QUESTIONS, SHOTS]


def test_the_cloze_questions_are_exactly_those_of_the_first_records_with_cloze() -> None:
    made = [
        biography.load(half="all", cloze=True)["questions"].remove_columns("source").to_list(),
        wikipedia.load(source="mini", half="all", cloze=True)["questions"].to_list(),
    ]
    texts = [json.dumps(rows, sort_keys=True).encode() for rows in made]
    assert [hashlib.sha256(text).hexdigest() for text in texts] == [CLOZE, CLOZE_MINI]


@pytest.mark.parametrize("task", sorted({path.parent.name for path in (ROOT / "leaderboard/results").glob("*/*.json")}))
def test_the_shipped_records_have_the_present_definitions(task: str) -> None:
    (path, *_) = sorted((ROOT / "leaderboard/results" / task).glob("*.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    name = record["task"]["name"]
    before = earlier_definitions(name) if record["schema_version"] == 1 else set()
    assert record["task"]["definition_hash"] in {TASK_KINDS[name].definition(), *before}


def test_a_change_gives_another_definition_unless_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "task.py").write_text("asked = 1\n")
    first = definition_hash([file])
    assert first == tree_hash([file])
    file.write_text("asked = 1  # the same\n")
    second = tree_hash([file])
    assert definition_hash([file]) == second != first
    (listed := tmp_path / "unchanged.json").write_text(json.dumps([{"what": "a comment", "same_as": {second: first}}]))
    monkeypatch.setattr(base, "UNCHANGED", listed)
    assert definition_hash([file]) == first
