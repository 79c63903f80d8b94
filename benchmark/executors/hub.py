"""What stages read of the Hugging Face hub: fetched here, once, before containers that have no network read it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmark.core.errors import UserError, one_line
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall

# What a model is loaded from; no pickled weights, which are not read, and no copies in other formats in folders below.
WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
CODE = ["*.py"]


def fetch_models(calls: Iterable[StageCall]) -> int:
    """Have the hub models and adapters that the stages load in the local cache; returns how many there are.

    What is there already is not asked for again. Raises UserError if the hub does not give one.
    """
    from huggingface_hub import snapshot_download

    wanted = sorted({part for call in calls for spec in _specs(call.where) for part in _of_hub(spec)})
    for name, revision, has_code in wanted:
        try:
            snapshot_download(
                name,
                revision=revision or None,
                allow_patterns=[*WANTED, *(CODE if has_code else [])],
                ignore_patterns=["*/*"],
            )
        except Exception as error:  # the hub client raises many kinds; each means the same to the user
            reason = one_line(error)
            raise UserError(
                f"model {name!r}: the hub did not give it ({type(error).__name__}: {reason}); check the network and "
                "the token, or give the path of a local folder instead"
            ) from None
    return len(wanted)


def reads_hub_data(call: StageCall) -> bool:
    """Whether a stage reads held-out data that libraries fetch from the hub themselves, into caches they lock."""
    return any("dataset" in entry or "lm_eval" in entry for entry in call.where.get("entries", []))


def _of_hub(spec: ModelSpec) -> Iterator[tuple[str, str, bool]]:
    if spec.local is None:
        yield spec.model, spec.revision or "", spec.trust_remote_code
    if spec.adapter and spec.local_adapter is None:
        yield spec.adapter, spec.adapter_revision or "", False


def _specs(where: Mapping[str, Any]) -> Iterator[ModelSpec]:
    """The models that stand in a stage's `where`."""
    for content in [where.get("model"), *where.get("fit", [])]:
        if content is not None:
            yield ModelSpec.model_validate(content)
