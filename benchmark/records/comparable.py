"""What two records must share to be compared, and what then tells them apart.

The board groups records by the same two lists: `conditions` makes a table, `treatment` a row of it.
"""

import json
from collections.abc import Mapping
from typing import Any

from benchmark.core.errors import UserError
from benchmark.records.record import SCORING, ModelInfo, Record

# These bound memory and change no experiment, so records that differ in them alone still count as alike.
MEMORY_BOUNDS = frozenset({"training.recipe.micro_batch", "evaluation.batch_size", "scoring.tokens_per_batch"})

Facts = dict[str, Any]


def conditions(record: Record) -> Facts:
    """What must be equal for two records to stand in one table, by dotted field.

    That is data, trained model, budget, recipe and evaluation, without what a suite chooses over; not the suite, which
    only lists what to run.
    """
    facts = _without_choice(_all_conditions(record), record)
    chosen = [key for key in record.choice if not key.startswith("method.")]
    return {**facts, "choice": chosen} if chosen else facts


def asked_of(record: Record) -> Facts:
    """What a reference and the records of a table share: questions, numbers of examples, and the model before training.

    Not the list of lm-eval tasks: with the document in the prompt fewer of them are asked.
    """
    task = record.task.model_dump(include={"name", "options", "corpus_hash", "definition_hash"})
    task["options"].pop("evaluate", None)
    evaluation = {name: record.evaluation.get(name) for name in ("num_fewshot", "lm_eval")}
    return _flat(
        {"task": task, "model": {"name": record.model.name, **_weights(record.model)}, "evaluation": evaluation}
    )


def treatment(record: Record) -> Facts:
    """What makes a row of a table, by dotted field: method, parameters, package, pair and how tokens were scored.

    Records with equal conditions and equal treatment differ in their seed, or in what a suite chooses over.
    """
    return _without_choice(_all_treatment(record), record)


def point(record: Record) -> Facts:
    """The values of what a suite chooses over, by dotted field; nothing where it does not."""
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
    """Which weights a model had and how they were used: precision and layers, not the place they came from.

    What is not set counts as nothing, so that a field that came to the schema later makes no older record unlike.
    """
    places = ("model", "revision", "adapter", "adapter_revision")
    spec = {key: value for key, value in model.spec.items() if key not in places and value is not None}
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
            # How a suite scores says nothing about a record for which nothing was scored.
            "scoring": record.scoring if not record.stages or record.stages.keys() & set(SCORING) else {},
        }
    )


def compare(a: Record, b: Record) -> list[str]:
    """Say what differs between two comparable records: treatment, seed, and what each ran on; a line for each.

    Raises UserError naming every field of the conditions in which they differ: such records are not comparable.
    """
    unlike = _differences(conditions(a), conditions(b))
    if unlike:
        raise UserError(f"not comparable: {'; '.join(unlike)}; compare records that share all of this")
    rest = [
        {
            "seed": one.seed,
            "training.steps": one.training.steps if one.training else 0,
            **_flat({"environment": one.environment.model_dump()}),
        }
        for one in (a, b)
    ]
    told = [{**point(one), **treatment(one)} for one in (a, b)]
    return _differences(told[0], told[1]) + _differences(rest[0], rest[1])


def canonical(value: Any) -> str:
    """A value as text, equal for equal values: JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def fact_text(value: Any) -> str:
    """A fact as people read it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else canonical(value)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Facts:
    """Nested mappings as one, with dotted keys, and without what only bounds memory."""
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
