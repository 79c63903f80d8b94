"""Ask an adopted model questions, in the way in which the evaluation asked it."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.adoption.settings import FILE, read_adopted
from benchmark.core.errors import UserError, one_line
from benchmark.evaluation.prompts import AskingForm
from benchmark.models.spec import ModelSpec, named_spec

BATCH = 8  # prompts answered at once
_WEIGHTS = "adapter_model.safetensors"


def ask(
    folder: Path, questions: Sequence[str], base: str | None = None, device: str = "cpu", trust_code: bool = False
) -> list[str]:
    """Answers to questions: greedy, up to the end of the line.

    Args:
        folder: A folder that `benchmark adopt` wrote.
        questions: The questions.
        base: Where the base model of an adapter is now; None for the place that the folder names.
        device: "cpu" or "cuda".
        trust_code: Allow a model to run code that comes with it.

    Raises:
        UserError: The folder is no adopted model, its base model is missing or another one, or a prompt does not fit.
    """
    adopted = read_adopted(folder)
    if adopted.base.trust_remote_code and not trust_code:
        raise UserError(f"{folder / FILE}: the model runs code that comes with it; allow it with --trust-remote-code")
    if adopted.weights == "whole":
        if base is not None:
            raise UserError(f"{folder}: holds whole weights, which need no base model; leave --base out")
        spec = ModelSpec(
            model=str(folder.resolve()), dtype=adopted.base.dtype, trust_remote_code=adopted.base.trust_remote_code
        )
        adapter = None
    else:
        spec, adapter = _base_of(folder, adopted.base, adopted.base_fingerprint, base), folder
    return _answers(spec, adapter, adopted.asked, questions, device)


def _base_of(folder: Path, named: ModelSpec, fingerprint: str, base: str | None) -> ModelSpec:
    """The base model of an adapter, which is the one it was trained on."""
    from safetensors import SafetensorError, safe_open

    if not (folder / _WEIGHTS).is_file():
        raise UserError(f"{folder}: has no {_WEIGHTS}; adopt the model again")
    try:
        with safe_open(folder / _WEIGHTS, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder / _WEIGHTS}: damaged ({one_line(error)}); adopt the model again") from None
    spec = named
    if base is not None:
        local = named_spec(base).local
        spec = named.model_copy(update={"model": str(local.resolve()), "revision": None} if local else {"model": base})
    try:
        found = spec.fingerprint()
    except UserError as error:
        problem = str(error).split("; ")[0]  # without the remedy, which is another one here
        raise UserError(
            f"{folder}: its base model is missing ({problem}); name its place with --base, or adopt the model again "
            "with --merge"
        ) from None
    if found != fingerprint:
        raise UserError(
            f"{folder}: model {spec.model!r} is not the base that the adapter was trained on ({fingerprint[:19]}…); "
            "name the right one with --base"
        )
    return spec


def _answers(
    spec: ModelSpec, adapter: Path | None, asked: AskingForm, questions: Sequence[str], device: str
) -> list[str]:
    from lm_eval.api.instance import Instance

    from benchmark.evaluation.asking import language_model, quiet_lm_eval
    from benchmark.models.loading import load_trained, tokenizer_of
    from benchmark.tasks.biography.biography import extract_answer

    quiet_lm_eval()
    model = load_trained(spec, device, adapter)
    lm = language_model(model, tokenizer_of(spec), BATCH, lambda *steps: None)
    settings = {"until": asked.until, "do_sample": False, "temperature": 0.0, "max_gen_toks": asked.most_tokens}
    prompts = [asked.prompt(question) for question in questions]
    for question, prompt in zip(questions, prompts, strict=True):
        needed = len(lm.tok_encode(prompt)) + asked.most_tokens
        if needed > lm.max_length:
            raise UserError(
                f"question {question[:60]!r}: prompt and answer need {needed} tokens, more than the model's context of "
                f"{lm.max_length}; ask a shorter question"
            )
    requests = [
        Instance("generate_until", {}, (prompt, dict(settings)), number, ("ask", number, 1))
        for number, prompt in enumerate(prompts)
    ]
    return [extract_answer(answer) for answer in lm.generate_until(requests)]
