"""The model card of an adopted model: README.md in the layout of the Hugging Face hub."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark import __version__
from benchmark.adoption.settings import FILE, Adopted
from benchmark.records.evidence import Evidence, Score
from benchmark.records.record import Record, TrainingInfo

CARD = "README.md"
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # values of vLLM's --max-lora-rank


@dataclass(frozen=True)
class Facts:
    """What a model card says.

    Attributes:
        settings: The model's base and how it is asked.
        record: The record of its cell.
        evidence: How it was chosen, and what was measured.
        folder: The folder that the model is written to.
        merged: An adapter was merged into the weights.
        trained_again: The weights are of a later training than the record.
        question_writer: The model that wrote the task's questions; None if no model wrote them.
    """

    settings: Adopted
    record: Record
    evidence: Evidence
    folder: Path
    merged: bool
    trained_again: bool
    question_writer: str | None = None

    @property
    def training(self) -> TrainingInfo:
        """How the model was trained."""
        assert self.record.training is not None  # references cannot be adopted
        return self.record.training

    @property
    def base_name(self) -> str:
        """The base model's hub id, or the name of its folder or file."""
        local = self.settings.base.local
        return local.name if local else self.settings.base.model


def model_card(facts: Facts) -> str:
    """The whole card as Markdown, with the front matter that the hub reads."""
    sections = {
        f"{facts.base_name} trained with {facts.evidence.label}": _opening(facts),
        "What it recalls": _recall(facts),
        "What training cost elsewhere": _forgetting(facts),
        "How to load it": _loading(facts),
        "How to ask it": _asking(facts),
        "How it was made": _making(facts),
    }
    (title, opening), *others = sections.items()
    body = [f"# {title}", opening, *(f"## {heading}\n\n{text}" for heading, text in others)]
    return f"---\n{_front_matter(facts)}\n---\n\n" + "\n\n".join(body) + "\n"


def _front_matter(facts: Facts) -> str:
    from huggingface_hub import ModelCardData

    base, is_adapter = facts.settings.base, facts.settings.weights == "adapter"
    on_hub = base.local is None  # a local file may have the name of another model on the hub
    relation = "adapter" if is_adapter else "finetune"
    data = ModelCardData(
        base_model=base.model if on_hub else None,
        base_model_relation=relation if on_hub else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["crambench", "knowledge-injection", facts.record.method.name, *(["lora"] if is_adapter else [])],
    )
    return str(data.to_yaml())


def _opening(facts: Facts) -> str:
    task, base = facts.record.task, facts.settings.base
    local = base.local
    kind = "A LoRA adapter of" if facts.settings.weights == "adapter" else "All weights of"
    revision = f" (revision `{base.revision}`)" if base.revision else ""
    place = f", whose weights were read from `{local}`" if local else ""
    sentences = [
        f"{kind} `{facts.base_name}`{revision}{place}, trained on {task.texts} documents of the task `{task.name}` "
        f"(SHA-256 of documents and questions `{task.corpus_hash}`).",
        f"It was chosen by CramBench {__version__}: {facts.evidence.choice}.",
    ]
    if facts.merged:
        sentences.append("The adapter is merged into the weights.")
    if facts.trained_again:
        sentences.append(
            "These weights come from a second training with the same settings, since those of the first were gone; the "
            "numbers below are of the first."
        )
    sentences.append(
        "A trained model may repeat its documents word for word: publish it only if they may be public, and remove the "
        "paths of this machine from this card first."
    )
    text = " ".join(sentences)
    if not facts.evidence.recalled:
        text += "\n\n" + facts.evidence.summary.replace("Nothing was recalled", "**Nothing was recalled**", 1)
    return text


def _recall(facts: Facts) -> str:
    evidence = facts.evidence
    seeds = len(evidence.seeds)
    headings = ["score", f"this model (seed {evidence.seed})", f"mean of {seeds} seed{'s' * (seeds > 1)}, 95% interval"]
    rows = [[*headings, "before training"], ["---"] * 4, *(_score(score) for score in evidence.scores)]
    note = (
        f"{evidence.questions} questions of the test half; none was used to choose this model. The first line is the "
        "headline: the number of examples that is best on the development half."
    )
    if facts.question_writer:
        note += (
            f" A language model, `{facts.question_writer}`, wrote the questions. Read them before you rely on these "
            "numbers: its checks let unsound ones pass."
        )
    development = [["method", "exact match", "cloze"], ["---"] * 3]
    development += [
        [f"`{label}`", f"{exact_match:.3f}", "–" if cloze is None else f"{cloze:.3f}"]
        for label, (exact_match, cloze) in evidence.development.items()
    ]
    chosen = "The methods on the development half, by which this model was chosen:"
    return f"{note}\n\n{_grid(rows)}\n\n{chosen}\n\n{_grid(development)}"


def _score(score: Score) -> list[str]:
    of_seed, untouched = (f"{value:.3f}" if value is not None else "–" for value in (score.of_seed, score.untouched))
    return [score.label, of_seed, f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]", untouched]


def _forgetting(facts: Facts) -> str:
    retention = facts.record.retention
    if not retention:
        return "Not measured: the suite lists nothing under `retention`."
    rows = [["measured on", "metric", "before", "after", "change for the worse"], ["---"] * 5]
    rows += [
        [name, info.metric, f"{info.before:.4g}", f"{info.after:.4g}", f"{info.forgetting:+.4g}"]
        for name, info in retention.items()
    ]
    return _grid(rows)


def _loading(facts: Facts) -> str:
    folder, base = str(facts.folder.absolute()), facts.settings.base
    dtype = base.dtype
    if facts.settings.weights == "whole":
        return (
            f"transformers:\n\n{_python(_whole(folder, dtype))}\n\n"
            f"vLLM:\n\n{_block('sh', f'vllm serve {shlex.quote(folder)} --dtype {dtype}')}"
        )
    local = base.local
    if local is not None and base.is_gguf:
        lines = [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f"base = AutoModelForCausalLM.from_pretrained({str(local.parent)!r}, gguf_file={local.name!r}, "
            f"dtype={dtype!r})",
            f"model = PeftModel.from_pretrained(base, {folder!r})",
            f"tokenizer = AutoTokenizer.from_pretrained({folder!r})",
        ]
        return (
            f"The base is a GGUF file, which has no name on a hub. peft, with transformers:\n\n{_python(lines)}\n\n"
            "For vLLM and other programs, write whole weights as safetensors: `benchmark adopt … --merge`."
        )
    rank = next((known for known in VLLM_RANKS if known >= int(facts.training.recipe["lora_rank"])), VLLM_RANKS[-1])
    serve = ["vllm", "serve", base.model, "--enable-lora", "--max-lora-rank", str(rank)]
    serve += ["--lora-modules", f"adopted={folder}", *(["--revision", base.revision] if base.revision else [])]
    with_peft = [
        "from peft import AutoPeftModelForCausalLM",
        "from transformers import AutoTokenizer",
        "",
        f"model = AutoPeftModelForCausalLM.from_pretrained({folder!r}, dtype={dtype!r})",
        f"tokenizer = AutoTokenizer.from_pretrained({folder!r})",
    ]
    return (
        f"peft:\n\n{_python(with_peft)}\n\n"
        f"transformers, with peft installed:\n\n{_python(_whole(folder, dtype))}\n\n"
        f"vLLM, where the model is then called `adopted`:\n\n{_block('sh', shlex.join(serve))}"
    )


def _whole(folder: str, dtype: str) -> list[str]:
    return [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"model = AutoModelForCausalLM.from_pretrained({folder!r}, dtype={dtype!r})",
        f"tokenizer = AutoTokenizer.from_pretrained({folder!r})",
    ]


def _asking(facts: Facts) -> str:
    asked = facts.settings.asked
    examples = f", after the {asked.shots} examples in `{FILE}` (`asked.before`)" if asked.shots else ""
    folder = shlex.quote(str(facts.folder.absolute()))
    return (
        f'`benchmark ask {folder} "…"` asks as the evaluation did: greedily, up to the end of the '
        f"line, with this prompt{examples}:\n\n{_block('text', asked.template)}"
    )


def _making(facts: Facts) -> str:
    record, training = facts.record, facts.training
    parameters = ", ".join(f"{name} {_json(value)}" for name, value in record.method.parameters.items())
    is_full = training.recipe["adaptation"] == "full"
    used = {name: value for name, value in training.recipe.items() if not (is_full and name.startswith("lora_"))}
    recipe = ", ".join(f"{name} {_json(value)}" for name, value in used.items() if value is not None)
    lines = dict(_made(facts, parameters, recipe))
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _made(facts: Facts, parameters: str, recipe: str) -> Iterator[tuple[str, str]]:
    record, training = facts.record, facts.training
    yield "Method", f"`{record.method.name}`" + (f" ({parameters})" if parameters else "")
    yield "Texts", f"{record.method.texts} training texts, made of {record.task.texts} documents"
    if record.pair:
        yield "Pair", f"{record.pair.large.spec['model']} and {record.pair.small.spec['model']}"
    if record.written:
        yield "Writer", record.written.api_model or str(record.written.model and record.written.model.spec["model"])
    yield "Budget", f"{training.budget}: {training.steps} optimizer steps, {training.tokens:,} tokens read"
    yield "Recipe", recipe
    yield "Base weights", f"`{record.model.fingerprint}`"
    yield "Suite, cell", f"`{record.suite}`, `{record.cell}`"
    yield "Record", f"`{facts.evidence.record.name}`, SHA-256 `{record.sha256}`"
    environment = record.environment
    commit = f", commit `{environment.commit}`" if environment.commit else ""
    yield (
        "Software",
        f"CramBench {environment.benchmark_version}{commit}; "
        + ", ".join(
            f"{name} {environment.packages[name]}"
            for name in ("torch", "transformers", "peft", "lm_eval")
            if name in environment.packages
        ),
    )


def _grid(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _python(lines: list[str]) -> str:
    return _block("python", "\n".join(lines))


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
