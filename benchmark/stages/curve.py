"""Curve stage: scores of a model at several steps of its training."""

import gc
import json
from pathlib import Path

from benchmark.core.progress import Progress
from benchmark.evaluation.asking import ask
from benchmark.models.loading import load_trained, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.stages.evaluate import answer_rows, check_task_unchanged, means
from benchmark.stages.files import CHECKPOINTS, CURVE
from benchmark.store.artifacts import StageCall


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write curve.json from the checkpoints of the input "trained": a list of {"steps", "scores"} by step."""
    import torch

    params = call.params
    torch.set_num_threads(params["threads"])
    check_task_unchanged(call)
    spec = ModelSpec.model_validate(call.where["model"])
    folders = sorted((inputs["trained"] / CHECKPOINTS).glob("*"), key=lambda folder: int(folder.name))
    points = []
    for number, folder in enumerate(folders):
        answers = ask(
            load_trained(spec, params["device"], folder),
            tokenizer_of(spec),
            params["tasks"],
            call.where["metadata"],
            batch_size=params["batch_size"],
            num_fewshot=params["num_fewshot"],
        )
        points.append({"steps": int(folder.name), "scores": means(answer_rows(answers.samples))})
        del answers
        gc.collect()
        progress(number + 1, len(folders))
    (out / CURVE).write_text(json.dumps(points, indent=1, sort_keys=True))
