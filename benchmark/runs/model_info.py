"""The parts of a record that describe models: a model as it was used, and what a writer wrote."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.models.spec import ModelSpec
from benchmark.records.record import ModelInfo, WrittenInfo
from benchmark.stages.files import WRITING_REPORT
from benchmark.store.artifacts import Store
from benchmark.suite.plan import Cell
from benchmark.writing.settings import LocalWriter

_SUMS = ("texts", "samples", "gold_questions", "prompt_tokens", "tokens")


def model_info(name: str, spec: ModelSpec, fingerprint: str, parameters: int | None = None) -> ModelInfo:
    """A model as records describe it: of a path only the last part, since the rest belongs to the machine."""
    content = spec.model_dump(mode="json", include=set(ModelSpec.model_fields) - {"device_map"})  # not part of any key
    local = spec.local
    if local is not None and not spec.model.startswith("zoo:"):
        content["model"] = local.name
    adapter = spec.local_adapter
    if adapter is not None:
        content["adapter"] = adapter.name
    return ModelInfo(name=name, spec=content, fingerprint=fingerprint, parameters=parameters)


def written_info(store: Store, cell: Cell, invented: float | None) -> WrittenInfo | None:
    """What a writer wrote for a cell's method, summed over all its stages; None if the method needs no writer.

    Args:
        store: Holds the artifacts.
        cell: The cell.
        invented: Share of names and numbers in the copies that their originals lack.
    """
    calls = [cell.stages[role] for role in cell.method.writings]
    if not calls:
        return None
    reports = [json.loads((store.path(call) / WRITING_REPORT).read_text()) for call in calls]
    params, name = calls[0].params, str(cell.method.written_by)
    model = None
    if "api" not in params:
        spec = LocalWriter.model_validate(calls[0].where["writer"]).spec
        model = model_info(name, spec, params["model"]["fingerprint"])
    return WrittenInfo(
        writer=name,
        model=model,
        api_model=params.get("api"),
        sampling=params["sampling"],
        left_out=_counts(reports, "left_out"),
        drawn_again=_counts(reports, "drawn_again"),
        invented=invented,
        sha256=[report["sha256"] for report in reports],
        **{key: sum(report[key] for report in reports) for key in _SUMS},
    )


def _counts(reports: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report[key])
    return dict(sorted(counts.items()))
