"""Scripts beside the harness."""

import json
import subprocess
import sys
from pathlib import Path

from benchmark import ROOT
from benchmark.data.texts import Text
from benchmark.methods import make_method
from benchmark.tasks.biography import biography


def test_people_told_anew_keep_their_facts_and_are_texts_that_the_method_takes(tmp_path: Path) -> None:
    out = tmp_path / "new" / "retold.jsonl"
    command = [sys.executable, "-m", "scripts.retell", "--out", str(out), "--copies", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{out}: 300 texts\n"
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    told = {person["id"]: person for person in biography.read_people()}
    orders = set()
    for row in rows:
        person = told[row["id"]]
        assert person["name"] in row["text"]
        places = {field: row["text"].index(value) for field, value in person["facts"].items()}
        orders.add(tuple(sorted(places, key=lambda field: places[field])))
        shared = set(row["text"].split(". ")) & set(person["text"].split(". "))
        assert not shared, "a sentence of the evaluation paragraph"
    assert len(orders) > 60
    assert len({row["text"] for row in rows}) == 300
    make_method("texts", {"path": str(out)}).check([Text(key, person["text"]) for key, person in told.items()], 3)


def test_a_file_of_people_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.retell", "--out", str(tmp_path / "x"), "--people", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "none" in done.stderr
