"""Training texts that a method makes of texts outside of a suite, with models and a writer given by name."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, check_known
from benchmark.core.progress import Progress
from benchmark.data.texts import AugmentedText, Text, TokenScores
from benchmark.methods import Method
from benchmark.methods import augment as make_texts
from benchmark.models.loading import tokenizer_of
from benchmark.models.spec import named_spec
from benchmark.scoring.encoding import unscored_tokens
from benchmark.scoring.requests import ScoreRequest, combined, requested_scores, score_requests
from benchmark.suite.plan import DEVICES, find_device
from benchmark.writing.settings import Writer
from benchmark.writing.write import Report
from benchmark.writing.writers import write_all, writer_from_values


@dataclass(frozen=True)
class Augmented:
    """Training texts, and what a writer wrote for them; `report` is None for a method without a writer."""

    texts: list[AugmentedText]
    report: Report | None


def augment_texts(
    method: Method,
    texts: Sequence[Text],
    large: str | None,
    small: str | None,
    writer: str | Mapping[str, Any] | None,
    copies: int,
    seed: int,
    prefix: str,
    dtype: str,
    device: str,
    resume_folder: Path | None = None,
    progress: Progress = lambda *steps: None,
) -> Augmented:
    """Make the training texts; the arguments are those of `benchmark.augment`.

    Args:
        method: The method.
        texts: The texts.
        large: Large model of the pair, or the only model that the method reads.
        small: Small model of the pair.
        writer: The writer of the copies: a model, or the fields of a writer as a suite has them.
        copies: Copies of every text.
        seed: Seed of the random choices, and of the writer unless its fields have one.
        prefix: Put before every text and not scored.
        dtype: Precision of the weights.
        device: "auto", "cpu" or "cuda".
        resume_folder: Folder for what a writer wrote, from which an interrupted call with the same arguments continues.
        progress: Called with the texts that a writer has written and all that it is to write.

    Raises:
        UserError: A text, the method or an option is wrong, a model is missing, or it cannot be loaded.
    """
    if method.reads != "nothing" and not large:
        raise UserError(f"method {method.name!r} reads tokens: name a model with --large (large= in Python)")
    if method.reads == "difference" and not small:
        raise UserError(
            f"method {method.name!r} contrasts two models: name the other one with --small (small= in Python)"
        )
    if method.writings and not writer:
        raise UserError(f"method {method.name!r} needs a writer: name a model with --writer (writer= in Python)")
    if writer and not method.writings:
        raise UserError(f"method {method.name!r} needs no writer; leave --writer out (writer= in Python)")
    chosen = _writer(writer, dtype, seed) if writer else None
    check_known("device", device, DEVICES)
    method.check(texts, copies)
    models = {"trained": str(large), "large": str(large), "small": str(small)}
    tokens = combined(
        {
            request.role: token_scores(models[request.role], texts, request, dtype, device)
            for request in score_requests(method, "received", prefix)
        }
    )
    written, report = None, None
    if chosen:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (resume_folder or Path(temporary)) / _key(chosen, method, texts, copies, tokens)
            written, report = write_all(
                method.writings, texts, chosen, copies, find_device(device), folder, tokens, progress
            )
    if method.reads == "tokens":
        tokens = unscored_tokens(tokenizer_of(named_spec(str(large), dtype)), texts)
    return Augmented(list(make_texts(method, texts, tokens, copies, seed, written)), report)


def token_scores(
    model: str, texts: Sequence[Text], request: ScoreRequest, dtype: str, device: str
) -> list[TokenScores]:
    """The token scores of texts in a model that is given by name.

    Raises:
        UserError: The dtype or the device is unknown, or the model cannot be loaded.
    """
    spec = named_spec(model, dtype)
    check_known("device", device, DEVICES)
    return requested_scores(spec, request, list(texts), find_device(device))


def _writer(writer: str | Mapping[str, Any], dtype: str, seed: int) -> Writer:
    values = {"seed": seed, **({"model": writer} if isinstance(writer, str) else writer)}
    return writer_from_values(values if "api" in values else {"dtype": dtype, **values})


def _key(
    writer: Writer, method: Method, texts: Sequence[Text], copies: int, scores: Sequence[TokenScores] | None
) -> str:
    """Hash of what the samples depend on, so that samples of another call are not taken for this one's."""
    prompts = {role: writing.identity() for role, writing in method.writings.items()}
    clues = scores if any(writing.clues for writing in method.writings.values()) else None
    content = [
        writer.identity(),
        prompts,
        [(text.id, text.text) for text in texts],
        copies,
        repr(clues),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]
