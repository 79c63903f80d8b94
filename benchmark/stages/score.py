"""Score stage: how much attention each token of each text receives in one model, or its loss there."""

import json
from pathlib import Path

from benchmark.core.progress import Progress
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import read_texts, write_scores
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.encoding import prefix_for
from benchmark.scoring.scores import score_texts
from benchmark.stages.files import SCORES, SCORING_REPORT, TEXTS
from benchmark.store.artifacts import StageCall


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write scores.parquet from the input "corpus", and told.json with the prefix and notes."""
    import torch

    from benchmark.models.forward_checks import PADDING_NOTE, padding_is_harmless

    params = call.params
    torch.set_num_threads(params["threads"])
    spec = ModelSpec.model_validate(call.where["model"])
    model = load_model(spec, params["device"])
    tokenizer = tokenizer_of(spec)
    scores = score_texts(
        model,
        tokenizer,
        read_texts(inputs["corpus"] / TEXTS),
        reduction=params["reduction"],
        prefix=params["prefix"],
        tokens_per_batch=params["tokens_per_batch"],
        progress=progress,
        part=AttentionPart.model_validate(params.get("attention", {})),
    )
    write_scores(out / SCORES, scores)
    report = {
        "prefix": prefix_for(tokenizer, params["prefix"]),
        "notes": [] if padding_is_harmless(model) else [PADDING_NOTE],
    }
    (out / SCORING_REPORT).write_text(json.dumps(report, indent=1))
