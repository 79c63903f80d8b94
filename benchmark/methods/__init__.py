"""Augmentation methods, one file each. A new file with a named `Method` class registers itself.

So does a class that an installed distribution declares as an entry point of the group `benchmark.methods`. Which token
scores a method asks for belongs to `scoring.requests`; the training loop that applies a method belongs to `training`.
"""

import hashlib
import importlib
import inspect
import pkgutil
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from pydantic import ValidationError

from benchmark.core.errors import UserError, nearest
from benchmark.data.texts import AugmentedText, Text, TokenScores
from benchmark.data.written import WrittenText
from benchmark.methods.base import Method

__all__ = ["GROUP", "METHODS", "Method", "augment", "make_method", "package_of", "stream"]

GROUP = "benchmark.methods"

METHODS: dict[str, type[Method]]


def __getattr__(name: str) -> object:
    # Built on first use: an installed distribution imports this module before its own class exists.
    if name == "METHODS":
        return _registry()[0]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _registry() -> tuple[dict[str, type[Method]], dict[str, str]]:
    """All methods by name, and the distribution with its version of each method that was installed from elsewhere."""
    methods = _shipped()
    packages: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.value, point.name)):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "a distribution without a name"
        method = _installed(point, package)
        if method.name in methods:
            other = packages.get(method.name, "this project")
            raise UserError(f"{package}: {other} already has a method called {method.name!r}; uninstall one of the two")
        methods[method.name], packages[method.name] = method, package
    return methods, packages


def _shipped() -> dict[str, type[Method]]:
    """The methods in the modules of this folder, by name."""
    methods: dict[str, type[Method]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, Method):
                name = vars(value).get("name")
                if name in methods:
                    raise ValueError(f"two methods are called {name!r}")
                if name is not None:
                    methods[name] = value
    return methods


def _installed(point: EntryPoint, package: str) -> type[Method]:
    """The class of an entry point. Raises UserError if it cannot be imported or is not a Method with a name."""
    where = f"{package}: entry point {point.name} = {point.value}"
    try:
        value = point.load()
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: {type(error).__name__}: {reason}; repair or uninstall {package}") from None
    is_method = inspect.isclass(value) and issubclass(value, Method) and isinstance(getattr(value, "name", None), str)
    if not is_method or inspect.isabstract(value):
        raise UserError(
            f"{where}: not a Method with a name (see docs/add_a_method.md); correct it or uninstall {package}"
        )
    return value  # type: ignore[no-any-return]


def package_of(name: str) -> str | None:
    """The distribution, with its version, that a method was installed from; None for a method of this project."""
    return _registry()[1].get(name)


def make_method(name: str, parameters: Mapping[str, object]) -> Method:
    """Make a method from its name and parameters.

    Raises:
        UserError: If no method has this name, or a parameter is unknown, missing or has a value that is not allowed.
    """
    methods = _registry()[0]
    if name not in methods:
        raise UserError(f"unknown method {name!r}; {nearest(name, list(methods))}")
    try:
        return methods[name].model_validate(dict(parameters))
    except ValidationError as error:
        errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    key, known = ".".join(map(str, first["loc"])) or "parameters", list(methods[name].model_fields)
    if first["type"] == "missing":
        raise UserError(f"method {name!r}: {key}: missing; give it a value")
    if first["type"] == "extra_forbidden":
        remedy = nearest(key, known) if known else "it takes none"
        raise UserError(f"method {name!r}: unknown parameter {key!r}; {remedy}")
    raise UserError(f"method {name!r}: {key}: {first['msg'].removeprefix('Value error, ')}, not {first['input']!r}")


def augment(
    method: Method,
    texts: Sequence[Text],
    tokens: Sequence[TokenScores] | None,
    copies: int,
    seed: int,
    written: Mapping[str, Sequence[WrittenText]] | None = None,
) -> Iterator[AugmentedText]:
    """Yield the training texts, text by text: the original as copy 0 where the method trains on it, then its copies.

    Args:
        method: Makes the copies.
        texts: The corpus.
        tokens: Token scores of each text in the same order; may be None for a method that needs nothing.
        copies: Copies per text; ignored by a method that makes none.
        seed: Seed of the copies. A copy depends on method, seed, its text (id and content) and its number only.
        written: What a writer wrote for it, by the roles of `method.writings`.

    Raises:
        ValueError: If the method needs tokens or written texts and there are none, or they belong to other texts.
        UserError: If a score is not a finite number, the method does not fit the texts or the number of copies, or the
            texts lack details that it needs.
    """
    method.check(texts, copies)
    _check_details(method, texts)
    if method.reads != "nothing" and tokens is None:
        raise ValueError(f"{method.name} needs token scores")
    if method.writings.keys() != (written or {}).keys():
        raise ValueError(f"{method.name} needs the texts of a writer: {', '.join(method.writings)}")
    method = method.with_written(written or {}).fitted(texts, tokens)
    for text, scored in zip(texts, tokens if tokens is not None else [None] * len(texts), strict=True):
        if scored is not None and scored.id != text.id:
            raise ValueError(f"text {text.id!r} came with the tokens of {scored.id!r}")
        if method.originals:
            yield AugmentedText(text.id, 0, text.text, method.values(text, scored))
        if method.makes_copies:
            for copy in (number for number in range(1, copies + 1) if method.has_copy(text, number)):
                yield method.training_copy(text, scored, stream(seed, text, copy), copy)


def stream(seed: int, text: Text, copy: int) -> random.Random:
    """The random numbers from which a copy of a text is made."""
    digest = hashlib.sha256(text.text.encode()).hexdigest()
    return random.Random(f"{seed}:{digest}:{text.id}:{copy}")


def _check_details(method: Method, texts: Sequence[Text]) -> None:
    """Raise UserError if the texts lack details that the method needs.

    A text may contain no entity, but a corpus without any entity does not provide them.
    """
    for text in texts:
        if "subject" in method.details and not text.subject:
            raise UserError(f'text {text.id!r}: {method.name} needs its "subject"; add it to the line of the text')
    if "entities" in method.details and not any(text.entities for text in texts):
        raise UserError(f'{method.name} needs the "entities" of the texts, and no text has any; add their offsets')
