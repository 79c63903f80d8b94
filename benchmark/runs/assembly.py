"""Assemble the record of a cell from its artifacts and its suite."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from benchmark.core.environment import Environment
from benchmark.data.texts import read_texts
from benchmark.methods import package_of
from benchmark.records.record import (
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
)
from benchmark.runs.model_info import model_info, written_info
from benchmark.stages.files import CURVE, FACTS, RESULTS, RETENTION, SCORING_REPORT, TEXTS, TRAINING_REPORT
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.entries import Scoring
from benchmark.suite.plan import Cell, Plan


def assemble(store: Store, plan: Plan, cell: Cell, answers: AnswersInfo, clusters: int) -> Record:
    """The record of a cell, still without its own hash.

    Args:
        store: Holds the cell's artifacts.
        plan: The cell's plan.
        cell: The cell.
        answers: File, hash and number of the copied answers.
        clusters: Texts that the answers are about.

    Raises FileNotFoundError if an artifact is gone.
    """
    suite, stages = plan.suite, cell.stages
    training = json.loads((store.path(stages["train"]) / TRAINING_REPORT).read_text()) if "train" in stages else {}
    results = json.loads((store.path(stages["evaluate"]) / RESULTS).read_text())
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
            name=cell.task.name,
            options={"evaluate": params["tasks"], **cell.task.identity()},
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
        facts=_facts(store, stages),
        written=written_info(store, cell, _counted(store, stages).get("invented")),
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
        curve=json.loads((store.path(stages["curve"]) / CURVE).read_text()) if "curve" in stages else [],
    )


def _facts(store: Store, stages: Mapping[str, StageCall]) -> FactsInfo | None:
    """What the copies keep of the facts; None if the method makes none."""
    counts = _counted(store, stages)
    return FactsInfo(**{name: counts[name] for name in FactsInfo.model_fields}) if counts else None


def _counted(store: Store, stages: Mapping[str, StageCall]) -> dict[str, Any]:
    if "facts" not in stages:
        return {}
    counts: dict[str, Any] = json.loads((store.path(stages["facts"]) / FACTS).read_text())
    return counts


def _scoring(store: Store, stages: Mapping[str, StageCall]) -> dict[str, Any]:
    """How tokens were scored; empty if the method reads no scores."""
    scored = [stages[role] for role in SCORING if role in stages]
    if not scored:
        return {}
    reports = [json.loads((store.path(call) / SCORING_REPORT).read_text()) for call in scored]
    notes = sorted({note for report in reports for note in report["notes"]})
    prefixes = list(dict.fromkeys(report["prefix"] for report in reports))  # "auto" may differ between tokenizers
    return {
        **{key: scored[0].params[key] for key in Scoring.model_fields},
        "prefix": prefixes[0] if len(prefixes) == 1 else prefixes,
        **({"notes": notes} if notes else {}),
    }


def _pieces_hash(store: Store, corpus: StageCall) -> str:
    pieces = [(text.id, text.text) for text in read_texts(store.path(corpus) / TEXTS)]
    return hashlib.sha256(json.dumps(pieces).encode()).hexdigest()


def _retention(store: Store, stages: Mapping[str, StageCall]) -> dict[str, RetentionInfo]:
    if "retained" not in stages:
        return {}
    before, after = (
        json.loads((store.path(stages[role]) / RETENTION).read_text()) for role in ("untouched", "retained")
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
    return model_info(name, plan.suite.models[name], plan.fingerprints[name], parameters)
