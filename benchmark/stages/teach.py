"""Teach stage: what the untrained model expects after each token of the texts, with the document in its prompt."""

from pathlib import Path

from benchmark.core.progress import Progress
from benchmark.data.targets import write_targets
from benchmark.data.texts import read_augmented, read_texts
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.teacher import LAYOUT, teacher_targets
from benchmark.stages.files import AUGMENTED, TARGETS, TEXTS
from benchmark.store.artifacts import StageCall


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write targets.parquet from the inputs "texts", the training texts, and "corpus", their documents."""
    import torch

    params = call.params
    if params["layout"] != LAYOUT:
        raise ValueError(f"layout {params['layout']} of the teacher's prompt is not that of this code, {LAYOUT}")
    torch.set_num_threads(params["threads"])
    spec = ModelSpec.model_validate(call.where["model"])
    texts = read_augmented(inputs["texts"] / AUGMENTED)
    targets = teacher_targets(
        load_model(spec, params["device"]),
        tokenizer_of(spec),
        {text.id: text.text for text in read_texts(inputs["corpus"] / TEXTS)},
        texts,
        params["top"],
        params["tokens_per_batch"],
        progress,
    )
    write_targets(out / TARGETS, zip(((text.id, text.copy) for text in texts), targets, strict=True))
