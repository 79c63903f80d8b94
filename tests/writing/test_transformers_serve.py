"""A suite through a real server, `transformers serve` with SmolLM2, which is killed and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark import ROOT

SMOLLM2 = Path("~/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf").expanduser()
ONLY_HERE = {
    **os.environ,
    "NO_PROXY": "127.0.0.1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "OMP_NUM_THREADS": "1",
}
SENTENCE = """---
source: this test
---
{document}

Say in one short sentence where the person was born.
"""
QUESTION = """---
source: this test
---
Text: {document}

Write one question about this text and its short answer, in these two lines:
Question: Where was the person born?
Answer: in the city
"""


class Server:
    """`transformers serve` with one model on a loopback port."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.model, self.log = model, log
        self._process: Any = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [Path(sys.executable).with_name("transformers"), "serve", self.model, "--device", "cpu"]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [*map(str, command), "--host", "127.0.0.1", "--port", str(self.port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=ONLY_HERE,
            )
        wait_for(lambda: self._answers() or self._process.poll() is not None, 180)
        assert self._process.poll() is None, self.log.read_text()

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def answers(self) -> int:
        """Answers given since it was started."""
        return self.log.read_text().count('"POST /v1/chat/completions HTTP/1.1" 200')

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return bool(opener.open(f"http://127.0.0.1:{self.port}/health", timeout=5).status == 200)
        except OSError:
            return False


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.05)


def benchmark(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmark", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=ONLY_HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.is_file(), reason="needs SmolLM2: run ../shared/models/get smollm2")
def test_a_suite_survives_the_death_of_its_server(tmp_path: Path) -> None:
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import ModelSpec

    spec = ModelSpec(model=str(SMOLLM2))
    load_model(spec, "cpu").save_pretrained(tmp_path / "smollm2")
    tokenizer_of(spec).save_pretrained(tmp_path / "smollm2")
    generation = (
        tmp_path / "smollm2" / "generation_config.json"
    )  # without do_sample the server takes the likeliest token
    generation.write_text(json.dumps({**json.loads(generation.read_text()), "do_sample": True}))
    for name, prompt in (("sentence", SENTENCE), ("question", QUESTION)):
        (tmp_path / f"{name}.md").write_text(prompt)
    server = Server(tmp_path / "smollm2", tmp_path / "server.log")
    suite = tmp_path / "served.yaml"
    writer = {"api": f"http://127.0.0.1:{server.port}/v1", "model": str(server.model), "max_tokens": 40, "retries": 1}
    content = {
        "name": "served",
        "models": {"large": "zoo:large"},
        "writers": {"smollm2": {**writer, "parallel": 2, "tries": 5, "temperature": 0.8}},
        "tasks": [{"name": "biography", "people": 2, "evaluate": ["biography_major"]}],
        "train": ["large"],
        "methods": [
            {"name": "rewrite", "writer": "smollm2", "prompts": [str(tmp_path / "sentence.md")]},
            {"name": "self_qa", "writer": "smollm2", "prompts": [str(tmp_path / "question.md")]},
        ],
        "copies": 2,
        "budgets": [{"steps": 2}],
        "evaluation": {"num_fewshot": 0},
        "references": False,
        "device": "cpu",
    }
    suite.write_text(json.dumps(content))
    store, arguments = tmp_path / "results" / "store", ("run", str(suite), "--results", str(tmp_path / "results"))
    started = time.monotonic()
    try:
        server.start()
        first = benchmark(*arguments, "--plain", "--workers", "1")
        wait_for(lambda: any(lines(file) for file in store.glob(".begun/write-*/journal.jsonl")), 240)
        server.kill()
        _, errors = first.communicate(timeout=120)
        failed = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert first.returncode == 2 and len(failed) == 1, errors
        assert f"writer http://127.0.0.1:{server.port}/v1: no answer after 1 retries" in failed[0], errors
        (journal,) = store.glob(".begun/write-*/journal.jsonl")
        kept = lines(journal)
        names = [row["name"] for row in kept]
        assert kept and len(set(names)) == len(names)

        server.start()
        second = benchmark(*arguments, "--plain", "--workers", "1")
        _, errors = second.communicate(timeout=900)
        assert second.returncode == 0, errors
        records = [json.loads(file.read_text()) for file in (tmp_path / "results/records/served").glob("*.json")]
        written = [record["written"] for record in records]
        assert sorted(record["method"]["name"] for record in records) == ["rewrite", "self_qa"]
        drawn = sum(info["samples"] for info in written)
        assert server.answers() == drawn - len(kept) + 1, (
            "what was kept is not asked for again; one answer is the check"
        )
        for info in written:
            assert info["api_model"] == str(server.model) and info["model"] is None
            assert info["texts"] > 0 and info["prompt_tokens"] > 20 * info["samples"] and info["tokens"] > 0
        texts = [row for file in store.glob("write/*/written.jsonl") for row in lines(file)]
        assert len(texts) == sum(info["texts"] for info in written)
        stage = journal.parent.name.removeprefix("write-")
        taken = {
            f"{row['id']}:{row['copy']}:{row['attempt']}": row["text"]
            for row in lines(store / "write" / stage / "written.jsonl")
        }
        for row in kept:
            assert taken.get(row["name"], row["text"]) == row["text"], "the first answer counts"
    finally:
        server.kill()
    tokens = [sum(info[key] for info in written) for key in ("prompt_tokens", "tokens")]
    print(
        f"\nkept when the server was killed: {len(kept)} of {drawn} samples; asked for after that: {drawn - len(kept)}"
    )
    print(f"{tokens[0]} tokens in, {tokens[1]} out; {time.monotonic() - started:.0f} s")
