"""Model specs: how to get a model, and the fingerprint that identifies its weights. Nothing here imports torch."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from benchmark.core.errors import UserError, check_known, hide_secrets, nearest

ZOO = Path(__file__).resolve().parent / "zoo"
DTYPES = ("float32", "bfloat16", "float16")
WEIGHTS = (".safetensors", ".gguf")
BESIDE_WEIGHTS = (".json", ".jinja", ".model", ".py", ".txt")  # configuration, tokenizer, code


def _no_path(revision: str) -> str:
    """Refuse a revision that would lead out of its folder in the cache; git allows no such names either."""
    if revision.startswith("/") or ".." in revision or "\\" in revision or not revision.isprintable():
        raise ValueError("expected a commit, branch or tag")
    return revision


Revision = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_path)]


class ModelSpec(BaseModel):
    """How to get a model.

    Attributes:
        model: A hub id, a folder, a GGUF file, or "zoo:NAME" for a model that ships with the project.
        revision: Commit, branch or tag of a hub id.
        skip_layers: Decoder layers to leave out, counted from 0, after the adapter is merged.
        dtype: Type of the weights in memory.
        quantization: Quantize the weights with bitsandbytes to 8 or 4 bits.
        trust_remote_code: Run code that comes with the model.
        adapter: A folder or hub id with a peft adapter, to be merged into the model.
        adapter_revision: Commit, branch or tag of the adapter's hub id.
        device_map: With "auto", accelerate spreads the layers over all GPUs of the process; None puts them on a single
            device. It enters no key and no record.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    revision: Revision | None = None
    skip_layers: list[Annotated[int, Field(strict=True, ge=0)]] = []
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    quantization: Literal["8bit", "4bit"] | None = None
    trust_remote_code: bool = False
    adapter: str | None = Field(default=None, min_length=1)
    adapter_revision: Revision | None = None
    device_map: Literal["auto"] | None = None

    @classmethod
    def from_yaml(cls, value: Any) -> Any:
        """Read a bare string as {"model": string}."""
        return {"model": value} if isinstance(value, str) else value

    def check_device(self, device: str) -> None:
        """Raise UserError if `device_map` spreads the model over GPUs but `device` is "cpu"."""
        if self.device_map and device != "cuda":
            raise UserError(
                f"model {self.model!r}: device_map: {self.device_map}: spreads a model over GPUs, and the device is "
                f"{device}; leave the field out, or set device: cuda on a machine with GPUs"
            )

    @property
    def local(self) -> Path | None:
        """The folder or GGUF file of the model, or None for a hub id.

        Raises:
            UserError: If the zoo has no such model, the path does not exist, or the folder has an adapter in it.
        """
        if self.model.startswith("zoo:"):
            name = self.model.removeprefix("zoo:")
            shipped = [path.parent.name for path in ZOO.glob("*/config.json")]
            if name not in shipped:
                raise UserError(f"model {self.model!r}: not in the zoo; {nearest(name, shipped)}")
            return ZOO / name
        path = Path(os.path.expanduser(self.model))
        if os.path.exists(path):
            if (path / "adapter_config.json").is_file():
                if (path / "config.json").is_file():
                    raise UserError(
                        f"model {self.model!r}: holds both a whole model (config.json) and an adapter "
                        "(adapter_config.json); delete adapter_config.json to use the model alone, or move the adapter "
                        "into a folder of its own and give that as adapter"
                    )
                raise UserError(
                    f"model {self.model!r}: an adapter without its base model; give the base as model and this folder "
                    "as adapter"
                )
            return path
        looks_like_path = (
            self.model.startswith((".", "/", "~")) or self.model.endswith(".gguf") or self.model.count("/") > 1
        )
        if looks_like_path:
            raise UserError(f"model {self.model!r}: no such file or folder; give a path that exists or a hub id")
        return None

    @property
    def is_gguf(self) -> bool:
        """Whether the model is a GGUF file."""
        local = self.local
        return local is not None and local.is_file()

    def fingerprint(self) -> str:
        """A string that identifies the weights: a SHA-256 over local files, or the commit of a hub id.

        With an adapter, the adapter's fingerprint follows after a "+".

        Raises:
            UserError: If the commit is not in the local cache and the hub cannot be reached.
        """
        base = self._base_fingerprint()
        return base if self.adapter is None else f"{base}+{self._adapter_fingerprint(self.adapter)}"

    def pinned(self, fingerprint: str) -> "ModelSpec":
        """The spec with its revisions set to the commits in its fingerprint; local files have none."""
        base, _, adapter = fingerprint.partition("+")
        revisions = {"revision": base, "adapter_revision": adapter}
        return self.model_copy(
            update={key: value.removeprefix("hub:") for key, value in revisions.items() if value.startswith("hub:")}
        )

    @property
    def local_adapter(self) -> Path | None:
        """The adapter's folder, or None for a hub id or no adapter.

        Raises:
            UserError: If the path does not exist, or the folder has no adapter in safetensors.
        """
        if self.adapter is None:
            return None
        path = Path(os.path.expanduser(self.adapter))
        if not os.path.exists(path):  # False also for a name that no file can have
            if self.adapter.startswith((".", "/", "~")) or self.adapter.count("/") != 1:
                raise UserError(f"adapter {self.adapter!r}: no such folder; give a path that exists or a hub id")
            return None
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            if not (path / file).is_file():
                raise UserError(f"adapter {self.adapter!r}: has no {file}; give a folder that peft saved")
        return path

    def _adapter_fingerprint(self, adapter: str) -> str:
        """SHA-256 over the adapter's two local files, or the commit of its hub id."""
        path = self.local_adapter
        if path is None:
            on_hub = ModelSpec(model=adapter, revision=self.adapter_revision)
            return f"hub:{on_hub._hub_commit('adapter_config.json', 'adapter')}"
        digest = hashlib.sha256()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            digest.update(f"{name}:{hashlib.sha256((path / name).read_bytes()).hexdigest()};".encode())
        return f"sha256:{digest.hexdigest()}"

    def _base_fingerprint(self) -> str:
        """SHA-256 over names and bytes of the model's local files, or the commit of its hub id."""
        path = self.local
        if path is None:
            return f"hub:{self._hub_commit()}"
        if path.is_file():
            if path.suffix.lower() != ".gguf":
                raise UserError(f"model {self.model!r}: neither a folder nor a .gguf file; give one of these")
            files = [path]
        else:
            candidates = [f for f in path.rglob("*") if f.suffix in (*WEIGHTS, *BESIDE_WEIGHTS)]
            files = sorted(f for f in candidates if f.is_file())
            if endless := [f for f in candidates if f.exists() and not f.is_file() and not f.is_dir()]:
                raise UserError(f"model {self.model!r}: {endless[0]} is a pipe or a device; remove it from the folder")
            if not any(f.suffix in WEIGHTS for f in files):
                raise UserError(
                    f"model {self.model!r}: no .safetensors or .gguf file in {path}; pickled weights are not read"
                )
        digest = hashlib.sha256()
        for file in files:
            if file.name == "training.json":  # a report on how a zoo model was trained, which changes no number
                continue
            name = file.name if file == path else file.relative_to(path).as_posix()
            with file.open("rb") as stream:
                digest.update(f"{name}:{hashlib.file_digest(stream, 'sha256').hexdigest()};".encode())
        return f"sha256:{digest.hexdigest()}"

    def _hub_commit(self, file: str = "config.json", what: str = "model") -> str:
        """The commit of the revision: that of `file` in the local cache, else the one that the hub names.

        `what` ("model" or "adapter") begins the error message.
        """
        from huggingface_hub import HfApi, constants, try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        remedy = "check the id and the network, or give the path of a local folder instead"
        try:
            cached = try_to_load_from_cache(self.model, file, revision=self.revision)
        except HFValidationError:
            raise UserError(f"{what} {self.model!r}: neither a path that exists nor a hub id; {remedy}") from None
        if isinstance(cached, str):
            return Path(cached).parent.name
        if constants.HF_HUB_OFFLINE:
            raise UserError(f"{what} {self.model!r}: not in the Hugging Face cache and HF_HUB_OFFLINE is set; {remedy}")
        try:
            return str(HfApi().model_info(self.model, revision=self.revision, timeout=10).sha)
        except Exception as error:  # the hub's client raises many kinds; each means the same to the user
            reason = hide_secrets(str(error)).strip().split("\n")[0][:150]
            raise UserError(
                f"{what} {self.model!r}: could not be looked up on the hub ({type(error).__name__}: {reason}); {remedy}"
            ) from None


def named_spec(model: str, dtype: str = "float32") -> ModelSpec:
    """The spec of a model named by a command or the API. Raises UserError for an empty name or unknown dtype."""
    if not model:
        raise UserError("model: its name is empty; give zoo:NAME, a hub id, a folder or a .gguf file")
    check_known("dtype", dtype, DTYPES)
    return ModelSpec.model_validate({"model": model, "dtype": dtype})
