"""Writers as a suite lists them: a model on this machine or an endpoint, each with how it is sampled."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from benchmark.core.validation import Count, NotNegative, Seed, not_a_bool
from benchmark.models.spec import ModelSpec

_WHERE_IT_RUNS = {"api", "key_from", "parallel", "retries", "timeout", "device_map"}


def _plain_address(address: str) -> str:
    """Refuse an invalid address, or one with a secret in it: addresses are written to files."""
    expected = "expected an address such as http://localhost:8000/v1"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # an invalid port or IPv6 address
        raise ValueError(expected) from None
    if not usable or not address.isprintable() or " " in address:
        raise ValueError(expected)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password or query; name the variable that holds the key in key_from")
    return address.rstrip("/")


def _variable(name: str) -> str:
    """Refuse an invalid name of a variable, without quoting it: it may be the key itself."""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ValueError("expected the name of an environment variable in capital letters, which holds the key")
    return name


class Sampling(BaseModel):
    """How a writer is sampled.

    Attributes:
        temperature: Temperature; 0 takes the likeliest token.
        top_p: Only the likeliest tokens that together have this probability are drawn (nucleus sampling).
        max_tokens: Most tokens of an answer.
        tries: How often a sample is drawn until it can be used.
        seed: Seed of the samples. All seeds of training share the texts.
        batch_size: Samples written at once by a local model. Part of the key: rounding depends on it.
        chat: Whether prompts go through the model's chat template. By default they do where the model has one; other
            models get the prompt's examples before it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: NotNegative = 0.8
    top_p: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0, le=1)] = 0.95
    max_tokens: Count = 300
    tries: Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, le=20)] = 3
    seed: Seed = 1
    batch_size: Count = 16
    chat: bool | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """How it is sampled, and nothing of where it is found."""
        return {name: getattr(self, name) for name in Sampling.model_fields}

    def identity(self) -> dict[str, Any]:
        """What the samples depend on: the model by its name, and how it is sampled, but not where it runs."""
        return self.model_dump(mode="json", exclude=_WHERE_IT_RUNS)


class LocalWriter(ModelSpec, Sampling):
    """A model on this machine that writes texts: a model spec, and how it is sampled."""

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return ModelSpec.model_validate({name: getattr(self, name) for name in ModelSpec.model_fields})


class Endpoint(Sampling):
    """A server that speaks OpenAI's protocol, such as vLLM, SGLang, llama.cpp or `transformers serve`.

    Attributes:
        api: Its address up to the version, such as http://localhost:8000/v1.
        model: The name of the model there.
        key_from: The environment variable that holds the key. The key itself is never written to a file.
        parallel: Requests at a time.
        retries: How often a request is repeated after a failure, with growing pauses.
        timeout: Seconds after which a request counts as failed.
    """

    api: Annotated[str, AfterValidator(_plain_address)]
    model: str = Field(min_length=1)
    key_from: Annotated[str, AfterValidator(_variable)] | None = None
    parallel: Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, le=256)] = 4
    retries: Annotated[int, BeforeValidator(not_a_bool), Field(ge=0, le=20)] = 5
    timeout: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)] = 600.0

    @property
    def is_chat(self) -> bool:
        """Whether it is asked for chat completions; completions of plain text otherwise."""
        return self.chat is not False


Writer = LocalWriter | Endpoint


def writer_from_yaml(value: Any) -> Any:
    """A writer from its entry in a suite: a mapping with `api` is an endpoint, everything else a model."""
    if isinstance(value, str):
        return LocalWriter(model=value)
    if isinstance(value, dict) and "api" in value:
        return Endpoint.model_validate(value)
    if not isinstance(value, (dict, Sampling)):
        raise ValueError("expected a model, or a mapping with model, or with api and model")
    return LocalWriter.model_validate(value) if isinstance(value, dict) else value
