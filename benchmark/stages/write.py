"""Write stage: a language model writes texts about a corpus, as a method asks."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.files import replacing
from benchmark.core.progress import Progress
from benchmark.corpora import make_task
from benchmark.data.texts import Text, read_scores, read_texts
from benchmark.data.written import Writing, write_written
from benchmark.scoring.requests import combined
from benchmark.stages.files import JOURNAL, SCORES, TEXTS, WRITING_REPORT, WRITTEN
from benchmark.store.artifacts import StageCall
from benchmark.writing.requests import Writes
from benchmark.writing.settings import Endpoint, LocalWriter
from benchmark.writing.write import Journal, Session, gold_questions
from benchmark.writing.writers import check_varied, clues_of, nothing_usable, open_writer

_SECONDS = "seconds"


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress, resume_folder: Path) -> float:
    """Write written.jsonl, and report.json with what was drawn and left out.

    The inputs are "corpus" and, if the prompts show clues, the pair's scores "large" and "small". Every sample is kept
    in `resume_folder` as it arrives, so an interrupted stage continues from there.

    Returns:
        The seconds of interrupted runs before.
    """
    stopwatch = _Stopwatch(resume_folder / _SECONDS)
    params, where = call.params, call.where
    writing = Writing.model_validate(where["writing"])
    if writing.identity() != params["writing"]:
        raise UserError("writers: a prompt changed while the suite ran; run the suite again")
    texts = read_texts(inputs["corpus"] / TEXTS)
    gold = make_task(where["entry"]).load().questions if writing.form == "questions" else {}
    sampling = params["sampling"]
    session = Session(
        _writer(call),
        writing,
        params["number"],
        sampling["seed"],
        sampling["tries"],
        Journal(resume_folder / JOURNAL),
        stopwatch.during(progress),
        clues=_clues(writing, texts, inputs),
        gold=gold_questions(gold),
    )
    written = session.write(texts)
    if not written:
        raise nothing_usable(f"writer {where.get('name', '')!r}", session.report)
    if "api" in params:
        check_varied(
            Endpoint.model_validate(where["writer"]), written, f"writer {where.get('name', '')!r}", resume_folder
        )
    write_written(out / WRITTEN, written)
    digest = hashlib.sha256((out / WRITTEN).read_bytes()).hexdigest()
    (out / WRITING_REPORT).write_text(json.dumps({**vars(session.report), "sha256": digest}, indent=1, sort_keys=True))
    return stopwatch.before


class _Stopwatch:
    """Keeps the seconds of a stage in a file as it goes on, since an interrupted run cannot say how long it took.

    Attributes:
        before: The seconds of the runs before this one.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._began = file, time.monotonic()
        self._saved = self._began
        self.before = float(file.read_text()) if file.is_file() else 0.0

    def during(self, progress: Progress) -> Progress:
        """`progress`, which also saves the seconds, at most once a second."""

        def report(*steps: int) -> None:
            now = time.monotonic()
            if now - self._saved >= 1:
                self._saved = now
                with replacing(self._file) as temporary:
                    temporary.write_text(f"{self.before + now - self._began:.3f}")
            progress(*steps)

        return report


def _writer(call: StageCall) -> Writes:
    """The writer of a stage."""
    if "api" in call.params:
        return open_writer(Endpoint.model_validate(call.where["writer"]), "")
    import torch

    torch.set_num_threads(call.params["threads"])
    return open_writer(LocalWriter.model_validate(call.where["writer"]), call.params["device"])


def _clues(writing: Writing, texts: list[Text], inputs: dict[str, Path]) -> dict[str, str]:
    """By id of a text, its words with the highest difference of scores, in text order."""
    if not writing.clues:
        return {}
    roles: Any = ("large", "small")
    return clues_of(writing, texts, combined({role: read_scores(inputs[role] / SCORES) for role in roles}))
