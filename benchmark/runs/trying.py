"""Try the work of missing stages on this machine: a few training steps, questions, texts and tokens, and their seconds.

The work runs through the functions of the stages, on the suite's own texts and questions, in a temporary folder. Equal
work is tried once. `runs/timing.py` measures, `runs/time_estimate.py` adds up what whole stages and the run take.

Not tried are stages that use no model (corpus, augment, facts), writers that are servers, and `retain`.
"""

import gc
import json
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from benchmark.core.progress import Progress
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import AugmentedText, Text, read_texts, write_lines
from benchmark.data.written import Writing
from benchmark.executors.worker import explaining
from benchmark.memory.predict import loads_model, spec_of
from benchmark.models.unpacked import is_unpacked, unpacked_in
from benchmark.runs import timing
from benchmark.runs.time_estimate import Part, StageEstimate
from benchmark.stages import run_stage, train
from benchmark.stages.augment import method_of
from benchmark.stages.files import AUGMENTED, TEXTS, WEIGHTS
from benchmark.store.artifacts import StageCall, Store
from benchmark.training.recipe import Recipe
from benchmark.writing.requests import Request
from benchmark.writing.settings import LocalWriter

STEPS = 3  # timed training steps, after one that is not timed
TOKENS = 8  # of an answer that are timed, after the first
ORDER = ("score", "teach", "write", "train", "evaluate", "curve")  # of the stages of a model
# Fields of a recipe that do not change the time of a step.
FIELDS_WITHOUT_EFFECT_ON_TIME = {
    "learning_rate",
    "schedule",
    "warmup_ratio",
    "max_grad_norm",
    "weight_decay",
    "lora_alpha",
}

_T = TypeVar("_T")


def try_stages(
    calls: Sequence[StageCall], store: Store, progress: Progress = lambda *steps: None
) -> list[StageEstimate]:
    """Try the stages that load a model; the others are left out.

    Args:
        calls: The missing stages.
        store: The suite's store. Nothing is written to it but unpacked GGUF models.
        progress: Called after each stage with the stages done and the stages in all.

    Raises:
        UserError: A stage fails, as it would in a run.
        StageFailed: A stage fails for another reason.
    """
    import torch

    wanted = sorted((call for call in calls if loads_model(call) and call.stage in ORDER), key=_sort_key)
    tried = []
    with TemporaryDirectory() as scratch, unpacked_in(store.root):
        trial = _Trial(store, Path(scratch))
        for number, call in enumerate(wanted):
            torch.set_num_threads(call.params["threads"])
            with explaining(call):
                tried.append(trial.of(call))
            progress(number + 1, len(wanted))
    return tried


def _sort_key(call: StageCall) -> tuple[str, int, bool]:
    """Sorts the stages of a model together, questions to a trained model before those to the untrained one."""
    return spec_of(call).model_dump_json(), ORDER.index(call.stage), "trained" not in call.inputs


@dataclass(frozen=True)
class _Training:
    """A training of a few steps: seconds of a step and of all else, and the folder of the trained weights."""

    step: float
    besides: float
    weights: Path


class _Trial:
    """Tries stages, and remembers what was measured for other stages with the same work."""

    def __init__(self, store: Store, scratch: Path) -> None:
        self._store, self._scratch = store, scratch
        self._known: dict[Hashable, Any] = {}
        self._loaded: tuple[Hashable, Any, float] | None = None

    def of(self, call: StageCall) -> StageEstimate:
        """The predicted time of a stage."""
        self._warm_up(call)
        of_stage: dict[str, Callable[[StageCall], tuple[list[Part], float]]] = {
            "score": self._score,
            "teach": self._teach,
            "write": self._write,
            "train": self._train,
            "evaluate": self._evaluate,
            "curve": self._curve,
        }
        parts, besides = of_stage[call.stage](call)
        return StageEstimate(call, spec_of(call).model.rsplit("/", 1)[-1], parts, besides)

    def _score(self, call: StageCall) -> tuple[list[Part], float]:
        from benchmark.models.loading import tokenizer_of
        from benchmark.scoring.scores import score_texts

        texts, params = self._texts(call.inputs["corpus"]), call.params
        model, load = self._model(call)

        def score(some: Sequence[Text]) -> None:
            part = AttentionPart.model_validate(params.get("attention", {}))
            prefix, size = params["prefix"], params["tokens_per_batch"]
            score_texts(model, tokenizer_of(spec_of(call)), some, params["reduction"], prefix, size, part=part)

        return [Part("text", timing.seconds_a_text(score, texts), len(texts))], load

    def _teach(self, call: StageCall) -> tuple[list[Part], float]:
        from benchmark.models.loading import tokenizer_of
        from benchmark.scoring.teacher import teacher_targets

        texts, params, augment = self._texts(call.inputs["corpus"]), call.params, call.inputs["texts"]
        model, load = self._model(call)

        def teach(some: Sequence[Text]) -> None:
            documents, copies = {text.id: text.text for text in some}, _originals(some)
            tokenizer = tokenizer_of(spec_of(call))
            teacher_targets(model, tokenizer, documents, copies, params["top"], params["tokens_per_batch"])

        known = ("teach", _json(params), call.inputs["corpus"].key)
        seconds = self._once(known, lambda: timing.seconds_a_text(teach, texts))
        copies = augment.params["copies"] if method_of(augment).makes_copies else 0
        return [Part("text", seconds, len(texts) * (1 + copies))], load

    def _write(self, call: StageCall) -> tuple[list[Part], float]:
        from benchmark.models.loading import tokenizer_of
        from benchmark.writing.local import LocalModel

        writer = LocalWriter.model_validate(call.where["writer"])
        writing, number = Writing.model_validate(call.where["writing"]), call.params["number"]
        texts = self._texts(call.inputs["corpus"])
        model, load = self._model(call)
        requests = _requests(writing, texts, number, writer.batch_size)

        def seconds(tokens: int) -> float:
            sampling = writer.model_copy(update={"max_tokens": tokens})
            drawing = LocalModel(model, tokenizer_of(writer.spec), sampling)
            list(drawing.write(requests[:1], {}))  # the first prompt also finds out what the model can do
            began = timing.clock()
            list(drawing.write(requests, {}))
            return timing.clock() - began

        first, more = seconds(1), seconds(1 + TOKENS)
        batches = math.ceil(len(texts) * (number + bool(writing.items)) / writer.batch_size)
        token = max(0.0, more - first) / TOKENS
        answers = Part("token of a batch", token, batches * (writer.max_tokens - 1))
        return [Part("batch of prompts", first, batches), answers], load

    def _train(self, call: StageCall) -> tuple[list[Part], float]:
        from benchmark.training.data import training_data

        training, plain = self._training(call), _without_method(call)

        def steps() -> int:
            recipe, texts = Recipe.model_validate(call.params["recipe"]), self._texts(_corpus_of(call))
            return training_data(plain, recipe, spec_of(call), _originals(texts)).steps

        count = self._once(("steps", _json(_params_that_set_speed(plain)), _corpus_of(call).key), steps)
        return [Part("step", training.step, count)], training.besides

    def _training(self, call: StageCall) -> _Training:
        """A few steps of a training on the texts of the corpus as they come, by the function of the train stage."""
        budget = {"method": "plain_matched", "copies": 0, "budget": {"steps": 1 + STEPS}}
        plain = _without_method(call)
        few_steps = replace(plain, params={**plain.params, **budget})

        def measure() -> _Training:
            folder = self._scratch / f"train-{len(self._known)}"
            folder.mkdir()
            write_lines(folder / AUGMENTED, _originals(self._texts(_corpus_of(call))))
            self._forget_model()
            ends: list[float] = []

            def step_done(done: int, *_: int) -> None:
                if done == 1:
                    ends.clear()  # memory ran out before, and the training began again
                ends.append(timing.clock())

            began = timing.clock()
            train.run(few_steps, {"texts": folder}, folder, step_done, folder / "begun")
            whole, step = timing.clock() - began, timing.seconds_a_step(ends)
            return _Training(step, max(0.0, whole - len(ends) * step), folder / WEIGHTS)

        return self._once(("train", _json(_params_that_set_speed(few_steps)), _corpus_of(call).key), measure)

    def _evaluate(self, call: StageCall) -> tuple[list[Part], float]:
        def measure() -> tuple[tuple[float, float], float]:
            model, load = self._model(call)
            return self._seconds_of_questions(call, model), load

        (batch, question), load = self._once(("evaluate", _json(call.params)), measure)
        questions = self._questions(call)
        full = call.params["batch_size"] * len(
            call.params["num_fewshot"]
        )  # each number of examples has its own batches
        return [Part("batch", batch, math.ceil(questions / full)), Part("question", question, questions)], load

    def _curve(self, call: StageCall) -> tuple[list[Part], float]:
        asked, load = self._evaluate(call)
        (steps,), _ = self._train(call.inputs["trained"])
        points = sum(step < steps.count for step in call.inputs["trained"].params["checkpoints"])
        return [replace(part, count=part.count * points) for part in asked], load * points

    def _seconds_of_questions(self, call: StageCall, model: Any) -> tuple[float, float]:
        from benchmark.evaluation.asking import Skipped, ask
        from benchmark.models.loading import tokenizer_of

        params = call.params
        skipped: Skipped = "all" if params.get("open_book") else params.get("skip_too_long", "none")
        tokenizer = tokenizer_of(spec_of(call))

        def asked(limit: int) -> int:
            answers = ask(
                model,
                tokenizer,
                params["tasks"],
                call.where["metadata"],
                params["batch_size"],
                params["num_fewshot"],
                skip_too_long=skipped,
                limit=limit,
            )
            return sum(map(len, answers.samples.values()))

        return timing.seconds_of_questions(asked, params["batch_size"])

    def _questions(self, call: StageCall) -> int:
        from benchmark.evaluation.asking import count_questions

        params, metadata = call.params, call.where["metadata"]
        known = ("questions", _json([params["tasks"], metadata, params["num_fewshot"], params["data"]]))
        return self._once(known, lambda: count_questions(params["tasks"], metadata, params["num_fewshot"]))

    def _model(self, call: StageCall) -> tuple[Any, float]:
        """The model of a stage, and the seconds that loading it took; a trained model has the weights of its trial."""
        from benchmark.models.loading import load_trained

        spec, device = spec_of(call), call.params["device"]
        trained = call.inputs.get("trained")
        weights = None if trained is None else self._weights(trained)
        known = (spec.model_dump_json(), device, weights)
        if self._loaded is None or self._loaded[0] != known:
            self._forget_model()
            began = timing.clock()
            model = load_trained(spec, device, weights)
            self._loaded = (known, model, timing.clock() - began)
        return self._loaded[1], self._loaded[2]

    def _weights(self, call: StageCall) -> Path:
        """The weights of a training: those in the store, or of its few steps."""
        return self._store.path(call) / WEIGHTS if self._store.has(call) else self._training(call).weights

    def _forget_model(self) -> None:
        import torch

        self._loaded = None
        gc.collect()
        torch.cuda.empty_cache()

    def _warm_up(self, call: StageCall) -> None:
        """Do what a run does once and not in each stage: import libraries, unpack a GGUF model."""
        from benchmark.models.loading import load_model

        for library in ("benchmark.training.fit", "lm_eval.evaluator", "peft"):
            import_module(library)
        spec = spec_of(call)
        if spec.is_gguf and not is_unpacked(self._store.root, spec):
            load_model(spec, call.params["device"])

    def _texts(self, corpus: StageCall) -> list[Text]:
        """The texts of a corpus stage, which is done in the temporary folder if the store lacks it."""

        def read() -> list[Text]:
            store = self._store
            if not store.verified(corpus):
                store = Store(self._scratch / "store")
                run_stage(store, corpus, lambda *steps: None)
            return read_texts(store.path(corpus) / TEXTS)

        return self._once(("texts", corpus.key), read)

    def _once(self, known: Hashable, measure: Callable[[], _T]) -> _T:
        if known not in self._known:
            self._known[known] = measure()
        found: _T = self._known[known]
        return found


def _corpus_of(call: StageCall) -> StageCall:
    """The corpus that a train stage reads."""
    return call.inputs["texts"].inputs["corpus"]


def _without_method(call: StageCall) -> StageCall:
    """A train stage without what its method changes in training, which needs the method's own texts."""
    left_out = ("training", "practice", "checkpoints")
    return replace(call, params={name: value for name, value in call.params.items() if name not in left_out}, inputs={})


def _params_that_set_speed(call: StageCall) -> dict[str, Any]:
    """The parameters of a train stage that the number of its steps and the seconds of a step depend on."""
    recipe = {name: value for name, value in call.params["recipe"].items() if name not in FIELDS_WITHOUT_EFFECT_ON_TIME}
    return {**{name: value for name, value in call.params.items() if name != "seed"}, "recipe": recipe}


def _originals(texts: Sequence[Text]) -> list[AugmentedText]:
    return [AugmentedText(text.id, 0, text.text) for text in texts]


def _requests(writing: Writing, texts: Sequence[Text], number: int, size: int) -> list[Request]:
    """The requests of a first batch, with nothing for items and clues, which are not known."""
    contents, names = writing.contents(), writing.prompts
    wanted = islice(((text, copy) for text in texts for copy in range(number)), size)
    return [
        Request(f"{text.id}:{copy}", contents[names[copy % len(names)]], {"document": text.text}, copy)
        for text, copy in wanted
    ]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
