"""What makes two records comparable, and what then distinguishes them.

The board groups records the same way: equal `conditions` make a table, equal `treatment` a row of it.
"""

import json
from collections.abc import Mapping
from typing import Any

from benchmark.core.errors import UserError
from benchmark.records.record import SCORING, ModelInfo, Record, WrittenInfo

# These only bound memory, so records that differ in nothing else are still comparable.
MEMORY_BOUNDS = frozenset({"training.recipe.micro_batch", "evaluation.batch_size", "scoring.tokens_per_batch"})

Facts = dict[str, Any]


def conditions(record: Record) -> Facts:
    """The facts that must be equal for two records to share a table, by dotted field.

    These are data, trained model, budget, recipe and evaluation, without the parameters that a suite chooses over. The
    suite itself does not count: it only lists cells.
    """
    facts = _without_choice(_all_conditions(record), record)
    chosen = [key for key in record.choice if not key.startswith("method.")]
    return {**facts, "choice": chosen} if chosen else facts


def asked_of(record: Record) -> Facts:
    """The facts that a reference shares with a table: questions, numbers of examples, and the model before training.

    The list of lm-eval tasks does not count: open-book references are asked fewer of them.
    """
    task = record.task.model_dump(include={"name", "options", "corpus_hash", "definition_hash"})
    task["options"].pop("evaluate", None)
    evaluation = {name: record.evaluation.get(name) for name in ("num_fewshot", "lm_eval")}
    return _flat(
        {"task": task, "model": {"name": record.model.name, **_weights(record.model)}, "evaluation": evaluation}
    )


def treatment(record: Record) -> Facts:
    """The facts that make a row of a table, by dotted field: method, parameters, package, pair and token scoring.

    Records with equal conditions and treatment differ only in their seed, or in parameters that a suite chooses over.
    """
    return _without_choice(_all_treatment(record), record)


def point(record: Record) -> Facts:
    """The values of the parameters that a suite chooses over, by dotted field."""
    facts = {**_all_conditions(record), **_all_treatment(record)}
    return {key: facts.get(key) for key in record.choice}


def _without_choice(facts: Facts, record: Record) -> Facts:
    return {key: value for key, value in facts.items() if key not in record.choice}


def _all_conditions(record: Record) -> Facts:
    return _flat(
        {
            "task": record.task.model_dump(
                include={"name", "options", "corpus_hash", "definition_hash", "versions", "pieces_hash"}
            ),
            "model": {"name": record.model.name, **_weights(record.model)},
            "training": record.training.model_dump(include={"budget", "recipe"}) if record.training else {},
            "evaluation": record.evaluation,
        }
    )


def _weights(model: ModelInfo) -> Facts:
    """Which weights a model had and how they were used (precision, layers), but not where they came from.

    Unset fields are left out, so that fields added to the schema later do not distinguish older records.
    """
    sources = ("model", "revision", "adapter", "adapter_revision")
    spec = {key: value for key, value in model.spec.items() if key not in sources and value is not None}
    return {"fingerprint": model.fingerprint, **spec}


def _all_treatment(record: Record) -> Facts:
    pair = record.pair
    return _flat(
        {
            "method": record.method.model_dump(include={"name", "parameters", "copies", "package"}),
            "pair": {
                "name": pair and pair.name,
                "large": pair and _weights(pair.large),
                "small": pair and _weights(pair.small),
            },
            "writer": _writer(record.written) if record.written else {},
            # A suite's scoring options do not matter to a record without scored tokens.
            "scoring": record.scoring if not record.stages or record.stages.keys() & set(SCORING) else {},
        }
    )


def _writer(written: WrittenInfo) -> Facts:
    """Which writer wrote the texts, and how it was sampled."""
    weights = {"model": _weights(written.model)} if written.model else {"api_model": written.api_model}
    return {"name": written.writer, **weights, "sampling": written.sampling}


def differing_facts(a: Record, b: Record) -> list[str]:
    """List the differences between two comparable records, a line each: treatment, seed and environment.

    Raises:
        UserError: The records are not comparable; the message names every condition in which they differ.
    """
    unlike = _differences(conditions(a), conditions(b))
    if unlike:
        raise UserError(f"not comparable: {'; '.join(unlike)}; compare records that share all of this")
    treatments = [{**point(record), **treatment(record)} for record in (a, b)]
    circumstances = [
        {
            "seed": record.seed,
            "training.steps": record.training.steps if record.training else 0,
            **_flat({"environment": record.environment.model_dump()}),
        }
        for record in (a, b)
    ]
    return _differences(*treatments) + _differences(*circumstances)


def canonical(value: Any) -> str:
    """A value as text, equal for equal values: JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def fact_text(value: Any) -> str:
    """A fact for people to read: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else canonical(value)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Facts:
    """Flatten nested mappings to dotted keys, without MEMORY_BOUNDS."""
    facts: Facts = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            facts.update(_flat(inner, f"{prefix}{key}."))
        elif f"{prefix}{key}" not in MEMORY_BOUNDS:
            facts[f"{prefix}{key}"] = inner
    return facts


def _differences(a: Facts, b: Facts) -> list[str]:
    keys = list(dict.fromkeys((*a, *b)))
    return [
        f"{key}: {canonical(a.get(key))} against {canonical(b.get(key))}"
        for key in keys
        if canonical(a.get(key)) != canonical(b.get(key))
    ]
