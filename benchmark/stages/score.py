"""Score stage: how much attention each token of each text receives in one model, or its loss there."""

import json
from pathlib import Path

from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring import AttentionPart, score_texts
from benchmark.stages import Progress
from benchmark.store import StageCall
from benchmark.texts import read_texts, write_scores

SCORES, NOTES = "scores.parquet", "notes.json"


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write scores.parquet from the input "corpus", and notes.json where texts could not be read as usual."""
    import torch

    from benchmark.models.behaviour import ALONE, bears_padding

    params = call.params
    torch.set_num_threads(params["threads"])
    spec = ModelSpec.model_validate(call.where["model"])
    model = load_model(spec, params["device"])
    scores = score_texts(
        model,
        tokenizer_of(spec),
        read_texts(inputs["corpus"] / "texts.jsonl"),
        reduction=params["reduction"],
        prefix=params["prefix"],
        tokens_per_batch=params["tokens_per_batch"],
        progress=progress,
        part=AttentionPart.model_validate(params.get("attention", {})),
    )
    write_scores(out / SCORES, scores)
    if not bears_padding(model):
        (out / NOTES).write_text(json.dumps([ALONE]))
