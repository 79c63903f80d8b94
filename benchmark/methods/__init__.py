"""Augmentation methods, one file each. A new file here with a named Method in it is in the registry by itself."""

import hashlib
import importlib
import inspect
import pkgutil
import random
from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from benchmark.errors import UserError, nearest
from benchmark.methods.base import Method
from benchmark.texts import AugmentedText, Text, TokenScores

__all__ = ["METHODS", "Method", "augment", "make_method"]


def _find_methods() -> dict[str, type[Method]]:
    found: dict[str, type[Method]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, Method):
                name = vars(value).get("name")
                if name in found:
                    raise ValueError(f"two methods are called {name!r}")
                if name is not None:
                    found[name] = value
    return found


METHODS: dict[str, type[Method]] = _find_methods()


def make_method(name: str, parameters: Mapping[str, object]) -> Method:
    """Make the method of that name.

    Raises UserError if there is none, or if a parameter is unknown or has a value the method does not take.
    """
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}; {nearest(name, list(METHODS))}")
    try:
        return METHODS[name].model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors()[0]
    key, known = ".".join(map(str, first["loc"])) or "parameters", list(METHODS[name].model_fields)
    if first["type"] == "extra_forbidden":
        remedy = nearest(key, known) if known else "it takes none"
        raise UserError(f"method {name!r}: unknown parameter {key!r}; {remedy}")
    raise UserError(f"method {name!r}: {key}: {first['msg']}, not {first['input']!r}")


def augment(
    method: Method, texts: Sequence[Text], tokens: Sequence[TokenScores] | None, copies: int, seed: int
) -> Iterator[AugmentedText]:
    """Yield the training texts, text by text: the original as copy 0 where the method trains on it, then its copies.

    Args:
        method: how copies are made.
        texts: the corpus.
        tokens: one entry per text in the same order; None will do for a method that needs nothing.
        copies: copies per text; a method that makes none ignores it.
        seed: a copy depends on the method, seed, its text (id and content) and its number, on no other text.

    Raises:
        ValueError: the method needs tokens and there are none, or they are not those of the texts.
        UserError: a score is not a finite number.
    """
    if method.needs != "nothing" and tokens is None:
        raise ValueError(f"{method.name} needs token scores")
    for text, scored in zip(texts, tokens if tokens is not None else [None] * len(texts), strict=True):
        if scored is not None and scored.id != text.id:
            raise ValueError(f"text {text.id!r} came with the tokens of {scored.id!r}")
        if method.originals:
            yield AugmentedText(text.id, 0, text.text, method.values(text, scored))
        if method.makes_copies:
            digest = hashlib.sha256(text.text.encode()).hexdigest()
            for copy in range(1, copies + 1):
                rng = random.Random(f"{seed}:{digest}:{text.id}:{copy}")
                yield AugmentedText(text.id, copy, method.augment_one(text, scored, rng))
