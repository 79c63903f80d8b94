"""The example of docs/your_own_documents.md is a corpus, and the commands of the page run as written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.tasks.corpus import corpus

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "your_own_documents.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's example, and with the folders of the project that the commands name."""
    (example,) = blocks("jsonl")
    (tmp_path / "harbour.jsonl").write_text(example, encoding="utf-8")
    for name in ("benchmark", "tasks"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_example_is_a_corpus_with_questions_in_both_halves_and_a_document_without_questions(folder: Path) -> None:
    assert (ROOT / "docs" / "harbour.jsonl").read_text(encoding="utf-8") == blocks("jsonl")[0]
    documents = corpus.read_corpus(folder / "harbour.jsonl")
    assert [len(document["questions"]) for document in documents] == [2, 2, 2, 1, 0]
    assert {document["half"] for document in documents if document["questions"]} == set(corpus.HALVES)


@pytest.mark.slow
def test_the_commands_run_as_written(folder: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
    }
    outputs = {}
    for line in "".join(blocks("sh")).splitlines():
        program, *arguments = shlex.split(line)
        command = [sys.executable, "-m", program, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        outputs[f"{program} {arguments[0]}"] = done.stdout
    assert list(outputs) == [
        *("benchmark corpus", "benchmark plan", "benchmark run", "benchmark adopt", "benchmark ask", "lm_eval --model")
    ]
    assert "results/corpus_harbour.yaml: the suite" in outputs["benchmark corpus"]
    assert "6 made now" in outputs["benchmark corpus"] and "6 cells, 6 of them done" in outputs["benchmark plan"]
    assert "nothing to do, all records exist" in outputs["benchmark run"]
    assert "Nothing was recalled" in outputs["benchmark corpus"]
    assert "results/adopted/corpus_harbour: whole weights" in outputs["benchmark adopt"]
    assert len(outputs["benchmark ask"].splitlines()) == 1
    assert "|exact_match|" in outputs["lm_eval --model"]
