"""Augment stage: a method makes the training texts from a corpus."""

from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.data.texts import read_scores, read_texts, write_lines
from benchmark.data.written import read_written
from benchmark.methods import Method, augment, make_method
from benchmark.records.record import SCORING
from benchmark.stages.files import AUGMENTED, SCORES, TEXTS, WRITTEN
from benchmark.store.artifacts import StageCall


def method_of(call: StageCall) -> Method:
    """The method of an augment stage."""
    return make_method(call.params["method"].split("@")[0], call.where.get("parameters", call.params["parameters"]))


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write augmented.jsonl from the input "corpus" and the scores that the method needs.

    Scores are the inputs "trained", "large" and "small"; texts of a writer those of the roles in `method.writings`.
    """
    from benchmark.models.loading import tokenizer_of
    from benchmark.models.spec import ModelSpec
    from benchmark.scoring.encoding import unscored_tokens
    from benchmark.scoring.requests import combined

    params = call.params
    method = method_of(call)
    if "parameters" in call.where and method.key_parameters() != params["parameters"]:
        raise UserError(f"{method.label}: a file it names changed while the suite ran; run the suite again")
    texts = read_texts(inputs["corpus"] / TEXTS)
    tokens = combined({role: read_scores(inputs[role] / SCORES) for role in SCORING if role in inputs})
    if method.reads == "tokens":
        tokens = unscored_tokens(tokenizer_of(ModelSpec.model_validate(call.where["model"])), texts)
    written = {role: read_written(inputs[role] / WRITTEN) for role in method.writings}
    write_lines(out / AUGMENTED, augment(method, texts, tokens, params["copies"], params["seed"], written))
    progress(1, 1)
