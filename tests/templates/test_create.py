"""The templates give files that work as they are, and no file is overwritten."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmark import ROOT
from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.methods import METHODS, Method
from benchmark.suite.schema import load_suite
from benchmark.templates.create import KINDS, create


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"written_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_new_method_makes_copies(tmp_path: Path) -> None:
    (file,), check = create("method", "word_soup", root=tmp_path)
    method = _module(file).WordSoup
    assert issubclass(method, Method) and method.name == "word_soup"
    copies = {method().augment_one(Text("t", "one two three"), None, random.Random(seed)) for seed in range(9)}
    assert len(copies) > 1
    assert {tuple(sorted(copy.split())) for copy in copies} == {("one", "three", "two")}
    assert check.startswith("python -m pytest tests/methods")


def test_a_new_task_works_in_the_harness_and_in_stock_lm_eval(tmp_path: Path) -> None:
    """In a project folder of its own, since the two parts of a task find each other by their paths."""
    for part in ("benchmark", "tasks"):
        (tmp_path / part).mkdir()
    for shared in ("biography", "wikipedia"):
        (tmp_path / "tasks" / shared).symlink_to(ROOT / "tasks" / shared)
    files, check = create("task", "landmarks", root=tmp_path)
    assert {file.suffix for file in files} == {".py", ".yaml", ".jsonl"}
    assert "--tasks landmarks" in check
    code = f"""
import sys
sys.path.append({str(ROOT)!r})
import benchmark.corpora.base as base
from pathlib import Path
base.TASKS = Path({str(tmp_path / "tasks")!r})
import benchmark.tasks
benchmark.tasks.__path__ = [str(base.TASKS)]
from lm_eval.tasks import TaskManager
import importlib.util
spec = importlib.util.spec_from_file_location("landmarks_corpus", {str(files[0])!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
corpus = module.Landmarks().load()
print(sorted(corpus.halves.items()), corpus.may_redistribute)
manager = TaskManager(include_path=str(base.TASKS), include_defaults=False, metadata=dict(corpus.metadata))
task = manager.load(["landmarks"])["tasks"]["landmarks"]
docs = list(task.test_docs())
print([(doc["cluster"], task.doc_to_text(doc)) for doc in docs])
metadata = {{**corpus.metadata, "open_book": True}}
book = TaskManager(include_path=str(base.TASKS), include_defaults=False, metadata=metadata)
(first, *_) = book.load(["landmarks"])["tasks"]["landmarks"].test_docs()
print(module.Landmarks().default_fewshot, first["prompt"].startswith(corpus.texts[0].text + 2 * chr(10) + "Question: "))
print(task.process_results(docs[1], [" 9"]), task.process_results(docs[1], ["ten"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    halves, questions, open_book, scores = done.stdout.strip().splitlines()[-4:]
    assert open_book == "[0] True"
    assert halves == "[('text-0', 'development'), ('text-1', 'test')] True"
    assert "Question: Who built the lighthouse of Orrin?" in questions and "text-1" in questions
    assert scores == "{'exact_match': 1.0, 'f1': 1.0, 'answered': 1.0} {'exact_match': 0.0, 'f1': 0.0, 'answered': 1.0}"


def test_a_new_model_is_a_suite_that_trains_it(tmp_path: Path) -> None:
    (file,), check = create("model", "qwen_small", "Qwen/Qwen3-0.6B-Base", root=tmp_path)
    suite = load_suite(file)
    assert suite.models["qwen_small"].model == "Qwen/Qwen3-0.6B-Base"
    assert suite.train == ["qwen_small"]
    assert check == "benchmark plan qwen_small.yaml"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "Word", "two words", "class", "../up", "_hidden", "1st", "a-b"])
def test_an_invalid_name_is_refused_and_nothing_is_written(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a name of small letters"):
        create(kind, name, root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_existing_names_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="method 'plain': already exists"):
        create("method", "plain", root=tmp_path)
    create("model", "mine", root=tmp_path)
    with pytest.raises(UserError, match=r"mine.yaml: already exists"):
        create("model", "mine", root=tmp_path)
    assert "word_soup" not in METHODS


def test_a_full_disk_leaves_no_file_of_a_new_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def fail_at_the_third(_: int) -> None:
        synced.append(1)
        if len(synced) == 3:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail_at_the_third)
        with pytest.raises(UserError, match=r"landmarks\.yaml: No space left on device; run this in a checkout"):
            create("task", "landmarks", root=tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(create("task", "landmarks", root=tmp_path)[0]) == 4
