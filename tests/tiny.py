"""Helpers for tests: a random model small enough to train, suites with it, and stages that fail on purpose."""

import json
import os
import signal
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.data.targets import Key, Targets, write_targets
from benchmark.data.texts import AugmentedText, write_lines
from benchmark.executors.local import _work, note_restarts
from benchmark.executors.protocol import Job
from benchmark.progress.events import Events, Listener
from benchmark.stages import run_stage
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.schema import Suite
from benchmark.tasks.biography import biography


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a randomly initialised Llama (2 layers, width 32, context 512) and a byte-level BPE tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompts = [json.dumps(shot["facts"]) for shot in biography.read_shots()] + list(biography.read_prompts().values())
    tokenizer.train_from_iterator([*(person["text"] for person in biography.read_people()), *prompts], trainer)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", model_max_length=512)
    fast.save_pretrained(folder)
    return folder


def tiny_suite(model: Path, **changes: Any) -> Suite:
    """A suite of two cells with the tiny model: four people, three steps, one field as written and choice questions."""
    content: dict[str, Any] = {
        "name": "tiny_test",
        "models": {"tiny": str(model)},
        "tasks": [{"name": "biography", "people": 4, "evaluate": ["biography_major", "biography_major_choice"]}],
        "train": ["tiny"],
        "methods": ["plain_matched", {"name": "random_dropout", "alpha": 0.3}],
        "copies": 2,
        "references": False,
        "budgets": [{"steps": 3}],
        "recipe": {"adaptation": "full", "learning_rate": 0.01, "batch_size": 4},
        "device": "cpu",
    }
    return Suite.model_validate({**content, **changes})


def train_call(model: Path, **changes: Any) -> StageCall:
    """A train stage with the tiny model; `recipe` updates the recipe, other arguments the parameters."""
    recipe = {"adaptation": "full", "learning_rate": 0.01, "batch_size": 4, **changes.pop("recipe", {})}
    params = {
        "device": "cpu",
        "threads": 1,
        "recipe": recipe,
        "budget": {"steps": 3},
        "method": "plain_matched",
        "copies": 1,
        "seed": 1,
        **changes,
    }
    return StageCall("train", 1, params, where={"model": {"model": str(model)}})


def train(
    call: StageCall, texts: list[AugmentedText], folder: Path, targets: Iterable[tuple[Key, Targets]] | None = None
) -> Path:
    """Run a train stage on `texts`, and `targets` if given, without a store; returns the folder that it wrote."""
    from benchmark.stages.train import run

    source, out = folder / "texts", folder / "trained"
    source.mkdir(parents=True)
    out.mkdir()
    write_lines(source / "augmented.jsonl", texts)
    inputs = {"texts": source}
    if targets is not None:
        write_targets(source / "targets.parquet", targets)
        inputs["targets"] = source
    run(call, inputs, out, lambda *steps: None, folder / "begun")
    return out


def biographies(count: int) -> list[AugmentedText]:
    """The texts of the first `count` people as originals."""
    return [AugmentedText(person["id"], 0, person["text"]) for person in biography.read_people()[:count]]


class InThisProcess:
    """An executor that runs stages one after another in this process."""

    def run(self, job: Job, events: Events) -> None:
        """Make every artifact of a job."""
        note_restarts(job, events)
        for call in job.calls:
            events.stage_started(call, "here")
            run_stage(job.store, call, partial(events.stage_progressed, call))
            events.stage_finished(call)


class Heard(Listener):
    """Keeps the events of a run, by kind and in order."""

    def __init__(self) -> None:
        self.started: list[tuple[StageCall, str]] = []
        self.steps: list[tuple[StageCall, int, int]] = []
        self.finished: list[StageCall] = []
        self.notes: list[str] = []
        self.all: list[tuple[Any, ...]] = []

    def stage_started(self, call: StageCall, where: str) -> None:
        self.started.append((call, where))
        self.all.append((call.key, "started", where))

    def stage_progressed(self, call: StageCall, done: int, total: int, tokens: int | None = None) -> None:
        self.steps.append((call, done, total))
        self.all.append((call.key, "progressed", done, total, tokens))

    def stage_finished(self, call: StageCall) -> None:
        self.finished.append(call)
        self.all.append((call.key, "finished"))

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.all.append((text,))


class TwoWords(Exception):
    """An exception that cannot be unpickled, like some exceptions of libraries."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def faulty_work(root: Path, call: StageCall) -> bool:
    """Replaces a worker's function: causes the fault named in the parameter "fault", then runs the stage."""
    import benchmark.stages

    def fail(store: Store, call: StageCall, progress: Any) -> bool:
        fault = call.params.get("fault")
        if fault == "kill once another is at work":
            while not list((root / ".tmp").glob("*")):
                time.sleep(0.05)
        if str(fault).startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "signals to itself":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
        if fault == "crash":
            raise TwoWords("something", "unforeseen")
        if fault == "never end":
            return store.make_artifact(call, lambda folder: time.sleep(1e6))  # type: ignore[arg-type, return-value]
        return run_stage(store, call, progress)

    benchmark.stages.run_stage = fail
    return _work(root, call)


def note_twice(root: Path, call: StageCall) -> bool:
    """Replaces a worker's function: notes twice that a training is slow, then runs the stage."""
    from benchmark.executors import local

    for _ in range(2):
        local._note(f"note: this training ({call.stage} {call.key[:8]}) is slow")
    return _work(root, call)


def run_forever(root: str) -> None:
    """Start two workers whose stages never end."""
    from benchmark.executors import local

    local._work = faulty_work
    calls = [StageCall("corpus", 1, {"fault": "never end", "number": number}) for number in (1, 2)]
    local.LocalExecutor(2).run(Job(Store(Path(root)), calls), Events())
