"""Fetch models from the Hugging Face hub once, before containers without a network read them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, one_line
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall

# The files that a model is loaded from: no pickled weights, which are never read, and no other formats in subfolders.
WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
CODE = ["*.py"]


def fetch_models(calls: Iterable[StageCall]) -> int:
    """Fetch the hub models and adapters of some stages into the local cache; returns their number.

    Files in the cache are not fetched again. Raises UserError if the hub refuses a model or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    wanted = sorted({part for call in calls for spec in _specs(call.where) for part in _on_hub(spec)})
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
                f"model {name!r}: cannot be fetched from the hub ({type(error).__name__}: {reason}); check the network "
                "and the token, or give the path of a local folder"
            ) from None
    return len(wanted)


def reads_hub_data(call: StageCall) -> bool:
    """Whether a stage reads held-out data that libraries fetch from the hub themselves, into caches that they lock."""
    return any("dataset" in entry or "lm_eval" in entry for entry in call.where.get("entries", []))


def hub_cache() -> Path:
    """The folder with the hub's models on this machine, without the token, which is saved beside it."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).absolute()


def _on_hub(spec: ModelSpec) -> Iterator[tuple[str, str, bool]]:
    """The hub repositories of a model and its adapter: name, revision, and whether its code is trusted."""
    if spec.local is None:
        yield spec.model, spec.revision or "", spec.trust_remote_code
    if spec.adapter and spec.local_adapter is None:
        yield spec.adapter, spec.adapter_revision or "", False


def _specs(where: Mapping[str, Any]) -> Iterator[ModelSpec]:
    """The models in a stage's `where`."""
    for content in [where.get("model"), *where.get("fit", [])]:
        if content is not None:
            yield ModelSpec.model_validate(content)
    if (writer := where.get("writer")) and "api" not in writer:
        yield ModelSpec.model_validate({name: writer[name] for name in ModelSpec.model_fields if name in writer})
