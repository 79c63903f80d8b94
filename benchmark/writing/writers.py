"""Writers from their settings: opened to draw samples, and asked all that a method needs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.core.errors import UserError, nearest
from benchmark.core.progress import Progress
from benchmark.data.texts import Text, TokenScores
from benchmark.data.written import Writing, WrittenText
from benchmark.methods.units import elusive_words
from benchmark.writing.requests import Writes
from benchmark.writing.settings import Endpoint, LocalWriter, Writer
from benchmark.writing.write import Journal, Report, Session

_VARIES_FROM = 0.5  # temperature from which samples are expected to differ
_GROUPS = 3  # documents with several samples, below which equal samples may be chance


def open_writer(writer: Writer, device: str) -> Writes:
    """What draws samples from a writer; a local model is loaded.

    Args:
        writer: The writer's settings.
        device: "cpu" or "cuda", for a local model.

    Raises:
        UserError: The model cannot be loaded, or the variable that should hold an endpoint's key is not set.
    """
    return open_writers(writer, [writer], device)[0]


def open_writers(writer: Writer, samplings: Sequence[Writer], device: str) -> list[Writes]:
    """What draws samples from one writer in several ways; a local model is loaded once.

    Args:
        writer: The writer's settings.
        samplings: The settings of each way. They differ from the writer's in how it is sampled alone.
        device: "cpu" or "cuda", for a local model.

    Raises:
        UserError: As `open_writer` does.
    """
    if isinstance(writer, Endpoint):
        from benchmark.writing import endpoint

        return [endpoint.Endpoint(sampling) for sampling in samplings if isinstance(sampling, Endpoint)]
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.writing.local import LocalModel

    model, tokenizer = load_model(writer.spec, device), tokenizer_of(writer.spec)
    return [LocalModel(model, tokenizer, sampling) for sampling in samplings]


def writer_from_text(text: str, settings: Mapping[str, Any]) -> Writer:
    """A writer from a model's name, or from "api:ADDRESS#MODEL" for the model of a server.

    Args:
        text: What names the writer: zoo:NAME, a hub id, a folder, a .gguf file, or an address.
        settings: Values of other fields, by name.

    Raises:
        UserError: The address lacks its model, or a value is wrong.
    """
    if text.startswith(("http://", "https://")):
        raise UserError(f"writer {text}: write the address of a server as api:ADDRESS/v1#MODEL")
    if not text.startswith("api:"):
        return writer_from_values({"model": text, **settings})
    address, _, model = text.removeprefix("api:").partition("#")
    if not model:
        raise UserError(f"writer {text}: names no model; write api:ADDRESS#MODEL with the name that the server knows")
    return writer_from_values({"api": address, "model": model, **settings})


def writer_from_values(values: Mapping[str, Any]) -> Writer:
    """A writer from the values of its fields, with `api` for an endpoint.

    Raises:
        UserError: A value is wrong; the message names the field.
    """
    kind: type[LocalWriter] | type[Endpoint] = Endpoint if "api" in values else LocalWriter
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        errors = error.errors()
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        raise UserError(f"writer: unknown field {field!r}; {nearest(field, sorted(kind.model_fields))}")
    raise UserError(f"writer: {field}: {first['msg'].removeprefix('Value error, ')}")


def write_all(
    writings: Mapping[str, Writing],
    texts: Sequence[Text],
    writer: Writer,
    number: int,
    device: str,
    resume_folder: Path,
    scores: Sequence[TokenScores] | None = None,
    progress: Progress = lambda *steps: None,
) -> tuple[dict[str, list[WrittenText]], Report]:
    """Write what a method asks for about texts that belong to no task.

    Args:
        writings: What it asks, by role.
        texts: The texts.
        writer: The writer's settings.
        number: Samples for each text.
        device: "cpu" or "cuda", for a local model.
        resume_folder: Folder that keeps every sample as it arrives; an interrupted call continues from it.
        scores: Token scores from which the clues in prompts are chosen.
        progress: Called with the texts that are written and all texts, of all roles.

    Returns:
        The written texts by role, and the sum of the reports.

    Raises:
        UserError: The writer fails, or nothing that it wrote can be used.
    """
    drawing = open_writer(writer, device)
    written: dict[str, list[WrittenText]] = {}
    whole, each = Report(), len(texts) * number
    for done, (role, writing) in enumerate(writings.items()):
        session = Session(
            drawing,
            writing,
            number,
            writer.seed,
            writer.tries,
            Journal(resume_folder / f"{role}.jsonl"),
            _shifted(progress, done * each, len(writings) * each),
            clues=clues_of(writing, texts, scores),
        )
        written[role] = session.write(texts)
        if not written[role]:
            raise nothing_usable("writer", session.report)
        check_varied(writer, written[role], "writer", resume_folder)
        whole += session.report
    return written, whole


def clues_of(writing: Writing, texts: Sequence[Text], scores: Sequence[TokenScores] | None) -> dict[str, str]:
    """By id of a text, its words with the highest scores, in text order; empty if no prompt shows any.

    Raises:
        ValueError: A prompt shows clues, and there are no scores.
    """
    if not writing.clues:
        return {}
    if scores is None:
        raise ValueError("clues need the scores of a pair")
    return {
        text.id: ", ".join(text.text[start:end] for start, end in elusive_words(text, tokens, writing.clues))
        for text, tokens in zip(texts, scores, strict=True)
    }


def check_varied(writer: Writer, written: Sequence[WrittenText], where: str, resume_folder: Path) -> None:
    """Check that a server does not ignore temperature and seed.

    Args:
        writer: The writer's settings; a local model is not checked.
        written: What it wrote.
        where: The beginning of the error message.
        resume_folder: Folder that keeps its samples.

    Raises:
        UserError: Samples on the same document by the same prompt are the same, for all of several documents.
    """
    if not isinstance(writer, Endpoint) or writer.temperature < _VARIES_FROM:
        return
    texts: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for text in written:
        texts.setdefault((text.id, text.prompt, text.about), []).append(text.text)
    repeated = [group for group in texts.values() if len(group) > 1]
    if len(repeated) >= _GROUPS and all(len(set(group)) == 1 for group in repeated):
        raise UserError(
            f"{where}: gives the same text whatever the seed, at temperature {writer.temperature:g}: the server does "
            "not sample (transformers serve needs do_sample in the model's generation_config.json); make it sample and "
            f"remove {resume_folder}, or set temperature: 0"
        )


def nothing_usable(where: str, report: Report) -> UserError:
    """The error if no sample of a writer can be used."""
    problems = ", ".join(f"{problem} {count}" for problem, count in report.left_out.items())
    return UserError(f"{where}: no text can be used ({problems}); use another writer or prompt")


def _shifted(progress: Progress, before: int, total: int) -> Callable[..., None]:
    return lambda done, *_: progress(before + done, total)
