"""From a cell's artifacts to its record, and back: which cells have a good record already."""

import hashlib
import itertools
import json
import os
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.core.environment import Environment
from benchmark.core.errors import UserError
from benchmark.core.files import file_hash, remove_abandoned, replacing, write_atomically
from benchmark.core.signals import finishing
from benchmark.corpora import Corpus
from benchmark.data.texts import read_texts
from benchmark.methods import package_of
from benchmark.models.spec import ModelSpec
from benchmark.records.record import (
    DISTANCE_COLUMNS,
    SCORING,
    AnswersInfo,
    FactsInfo,
    MethodInfo,
    ModelInfo,
    PairInfo,
    Record,
    RetentionInfo,
    TaskInfo,
    TrainingInfo,
    read_record,
)
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import Cell, Plan
from benchmark.suite.schema import Scoring

ANSWERS = ".answers.parquet"  # how the name of a record's answers ends
LOCK = "records"  # the store's lock of those who write records
TEXTS_AT_ONCE = 1000  # whose tokens are held together while distances are counted


def record_path(records: Path, plan: Plan, cell: Cell) -> Path:
    """Where a cell's record lies in a folder of records."""
    return records / plan.suite.name / f"{cell.name}.json"


def good_record(path: Path, plan: Plan, cell: Cell) -> Record | None:
    """The cell's record if it is there, unchanged and of this very cell; None means it has to be made (again)."""
    if not path.is_file():
        return None
    try:
        record = read_record(path)
    except UserError:
        return None
    # The number of points is in no key: a grid that grows needs no new training, only records that tell of it.
    return record if (record.cell, record.points) == (cell.key, plan.points(cell)) else None


def write_record(
    store: Store, plan: Plan, cell: Cell, records: Path, older: Mapping[str, list[Path]] | None = None
) -> Record:
    """Put a cell's record together from its artifacts and write it, answers first, each whole or not at all.

    One process at a time does so, and takes what another has written meanwhile. Records that this one takes the place
    of are removed: those of the suite with the same conditions, treatment, point and seed. They are of an earlier
    version of a stage, or of a suite that measured less; a board cannot hold both. They are looked for among `older`,
    what `by_place` gave for the suite's folder, which is asked anew where it is None.

    Raises UserError if the artifacts are gone.
    """
    path = record_path(records, plan, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.locked(LOCK), finishing():
        if found := good_record(path, plan, cell):
            return found
        answers = path.with_name(f"{path.stem}{ANSWERS}")
        try:
            rows, clusters = _copy_answers(store.path(cell.stages["evaluate"]) / "answers.parquet", answers, cell, plan)
            beside = AnswersInfo(file=answers.name, sha256=file_hash(answers), rows=rows)
            record = _record(store, plan, cell, beside, clusters)
        except FileNotFoundError as error:
            raise UserError(f"{error.filename or store.root}: is gone; run the suite again to have it made") from None
        record = record.model_copy(update={"sha256": record.body_hash()})
        write_atomically(path, record.model_dump_json(indent=1) + "\n", swept=True)
        for left in _replaced({path: record}, by_place(path.parent) if older is None else older):
            left.unlink(missing_ok=True)
    return record


def settle(store: Store, folder: Path, good: Mapping[Path, Record]) -> None:
    """Do what a killed run had yet to do in a folder of records; `good` are those of the suite that are there.

    Records that one of these has taken the place of go, and answers without a record, and what was half written. A
    folder that cannot be written stays as it is: whoever has to write there is told.
    """
    with suppress(OSError):
        remove_abandoned(folder)
        if _superfluous(folder, good):
            with store.locked(LOCK):
                for left in _superfluous(folder, good):
                    left.unlink(missing_ok=True)


def by_place(folder: Path) -> dict[str, list[Path]]:
    """The records of a folder by the part of their names that those of one place share: all but the key at its end."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.json")):
        found.setdefault(_shared(path), []).append(path)
    return found


def _superfluous(folder: Path, good: Mapping[Path, Record]) -> list[Path]:
    """Files that should not be in a folder of records, each record before its answers."""
    names = set(os.listdir(folder)) if folder.is_dir() else set()
    alone = (name for name in sorted(names) if name.endswith(ANSWERS) and _record_of(name) not in names)
    return [*_replaced(good, by_place(folder)), *(folder / name for name in alone)]


def _replaced(good: Mapping[Path, Record], there: Mapping[str, list[Path]]) -> list[Path]:
    """Which of the records that are `there` another one has taken the place of, each before its answers."""
    named: dict[str, list[Record]] = {}
    for path, record in good.items():
        named.setdefault(_shared(path), []).append(record)
    found = []
    for name, rivals in named.items():
        for path in there.get(name, []):
            if path not in good:
                with suppress(UserError, FileNotFoundError):
                    older = read_record(path)
                    if _place(older) in map(_place, rivals):
                        found += [path, path.with_name(older.answers.file)]
    return found


def _shared(path: Path) -> str:
    return path.stem[:-8]


def _place(record: Record) -> Any:
    """Where a record stands on a board. One place has room for one record."""
    from benchmark.records.comparable import conditions, point, treatment

    return record.suite, record.seed, conditions(record), treatment(record), point(record)


def _record_of(answers: str) -> str:
    return f"{answers.removesuffix(ANSWERS)}.json"


def _copy_answers(source: Path, target: Path, cell: Cell, plan: Plan) -> tuple[int, int]:
    """Copy the answers with the distances that the task knows; without text where it may not be passed on.

    Returns how many answers there are, and about how many texts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    if not cell.corpus.may_redistribute:
        column = table.schema.get_field_index("answer")
        table = table.set_column(column, "answer", pa.nulls(table.num_rows, pa.string()))
    if cell.corpus.gaps:
        far = distances(cell.corpus, plan.suite.models[cell.trained])
        known = [far.get(question, (None, None)) for question in table["question"].to_pylist()]
        for column, name in enumerate(DISTANCE_COLUMNS):
            table = table.append_column(name, pa.array([pair[column] for pair in known], pa.int32()))
    with replacing(target, swept=True) as temporary:  # by `settle`
        pq.write_table(table, temporary, compression="zstd")
    return table.num_rows, len(set(table["cluster"].to_pylist()))


def distances(corpus: Corpus, spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """Per question the characters and the model's tokens from the end of the subject's name to the answer."""
    return _distances(corpus, spec.model, spec.revision, spec.trust_remote_code)


@lru_cache(maxsize=4)  # a suite's cells share a few corpora and tokenizers
def _distances(corpus: Corpus, model: str, revision: str | None, trust_remote_code: bool) -> dict[str, tuple[int, int]]:
    from benchmark.models.loading import load_tokenizer

    tokenizer = load_tokenizer(model, revision, trust_remote_code)
    texts = {text.id: text.text for text in corpus.texts}
    questions: dict[str, list[tuple[str, int, int]]] = {}
    for question, (name, subject, answer) in corpus.gaps.items():
        questions.setdefault(name, []).append((question, subject, answer))
    found: dict[str, tuple[int, int]] = {}
    names = iter(questions)
    while batch := list(itertools.islice(names, TEXTS_AT_ONCE)):
        encoded = tokenizer([texts[name] for name in batch], return_offsets_mapping=True, add_special_tokens=False)
        for name, offsets in zip(batch, encoded["offset_mapping"], strict=True):
            ends = sorted(end for _, end in offsets)
            for question, subject, answer in questions[name]:
                tokens = bisect_right(ends, answer) - bisect_right(ends, subject)
                found[question] = (answer - subject, tokens)
    return found


def _record(store: Store, plan: Plan, cell: Cell, answers: AnswersInfo, clusters: int) -> Record:
    suite, stages = plan.suite, cell.stages
    training = json.loads((store.path(stages["train"]) / "training.json").read_text()) if "train" in stages else {}
    results = json.loads((store.path(stages["evaluate"]) / "results.json").read_text())
    params = stages["evaluate"].params
    pair = suite.pairs[cell.pair] if cell.pair else None
    texts = training.pop("texts", 0)
    parameters = training.pop("parameters", results["parameters"])
    return Record(
        cell=cell.key,
        suite=suite.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=_model(plan, cell.trained, parameters),
        pair=PairInfo(name=cell.pair, large=_model(plan, pair.large), small=_model(plan, pair.small))
        if pair and cell.pair
        else None,
        task=TaskInfo(
            name=cell.entry.name,
            options={"evaluate": params["tasks"], **cell.entry.identity()},
            corpus_hash=cell.corpus.data_hash,
            definition_hash=cell.corpus.definition_hash,
            versions=results["versions"],
            texts=len(cell.corpus.texts),
            questions=answers.rows,
            clusters=clusters,
            may_redistribute=cell.corpus.may_redistribute,
            pieces_hash=_pieces_hash(store, stages["corpus"])
            if suite.long_texts == "split" and "corpus" in stages
            else None,
        ),
        method=MethodInfo(
            name=cell.method.name,
            parameters=cell.method.recorded_parameters(),
            copies=suite.copies if cell.recipe else 0,
            texts=texts,
            package=package_of(cell.method.name),
        ),
        seed=cell.seed,
        facts=FactsInfo.model_validate_json((store.path(stages["facts"]) / "facts.json").read_text())
        if "facts" in stages
        else None,
        training=TrainingInfo(budget=cell.budget_label, recipe=stages["train"].params["recipe"], **training)
        if cell.recipe
        else None,
        evaluation={
            **{key: params[key] for key in ("tasks", "batch_size", "num_fewshot", "lm_eval")},
            **({"notes": results["notes"]} if "notes" in results else {}),
        },
        scoring=_scoring(store, stages),
        scores=results["scores"],
        stages={role: call.key for role, call in stages.items()},
        cost={role: store.cost(call) for role, call in stages.items()},
        environment=Environment.model_validate(store.environment(stages["train" if cell.recipe else "evaluate"])),
        answers=answers,
        choice=cell.choice,
        points=plan.points(cell),
        confirms=cell.confirms,
        retention=_retention(store, stages),
        curve=json.loads((store.path(stages["curve"]) / "curve.json").read_text()) if "curve" in stages else [],
    )


def _scoring(store: Store, stages: Mapping[str, StageCall]) -> dict[str, Any]:
    """How tokens were scored; nothing where a method looks at no scores."""
    scored = [stages[role] for role in SCORING if role in stages]
    if not scored:
        return {}
    told = [json.loads((store.path(call) / "told.json").read_text()) for call in scored]
    notes = sorted({note for one in told for note in one["notes"]})
    prefixes = list(dict.fromkeys(one["prefix"] for one in told))  # of "auto", which two tokenizers may read unlike
    return {
        **{key: scored[0].params[key] for key in Scoring.model_fields},
        "prefix": prefixes[0] if len(prefixes) == 1 else prefixes,
        **({"notes": notes} if notes else {}),
    }


def _pieces_hash(store: Store, corpus: StageCall) -> str:
    pieces = [(text.id, text.text) for text in read_texts(store.path(corpus) / "texts.jsonl")]
    return hashlib.sha256(json.dumps(pieces).encode()).hexdigest()


def _retention(store: Store, stages: Mapping[str, StageCall]) -> dict[str, RetentionInfo]:
    if "retained" not in stages:
        return {}
    before, after = (
        json.loads((store.path(stages[role]) / "retention.json").read_text()) for role in ("untouched", "retained")
    )
    return {
        entry["name"]: _change(entry, before[entry["name"]], after[entry["name"]])
        for entry in stages["retained"].params["entries"]
    }


def _change(measured: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> RetentionInfo:
    change = after["value"] - before["value"]
    return RetentionInfo(
        measured=measured,
        metric=after["metric"],
        higher_is_better=after["higher_is_better"],
        before=before["value"],
        after=after["value"],
        forgetting=round(-change if after["higher_is_better"] else change, 6) + 0.0,
        numbers={"before": before["numbers"], "after": after["numbers"]},
    )


def _model(plan: Plan, name: str, parameters: int | None = None) -> ModelInfo:
    spec = plan.suite.models[name].model_dump(mode="json", exclude={"device_map"})  # in no key either
    local = plan.suite.models[name].local
    if local is not None and not spec["model"].startswith("zoo:"):
        spec["model"] = local.name  # the folder it lay in says something about the machine, nothing about the model
    adapter = plan.suite.models[name].local_adapter
    if adapter is not None:
        spec["adapter"] = adapter.name
    return ModelInfo(name=name, spec=spec, fingerprint=plan.fingerprints[name], parameters=parameters)
