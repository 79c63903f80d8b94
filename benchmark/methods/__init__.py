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
from benchmark.methods.base import Method

__all__ = ["GROUP", "METHODS", "Method", "augment", "make_method", "package_of", "stream"]

GROUP = "benchmark.methods"

METHODS: dict[str, type[Method]]


def __getattr__(name: str) -> object:
    # METHODS is found when first asked for: a distribution's module imports this one before its own class is there.
    if name == "METHODS":
        return _registry()[0]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _registry() -> tuple[dict[str, type[Method]], dict[str, str]]:
    """Every method by its name, and of those that were installed the distribution with its version."""
    found = _shipped()
    packages: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.value, point.name)):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "a distribution without a name"
        method = _installed(point, package)
        if method.name in found:
            other = packages.get(method.name, "this project")
            raise UserError(
                f"{package}: a method of {other} is called {method.name!r} already; uninstall one of the two"
            )
        found[method.name], packages[method.name] = method, package
    return found, packages


def _shipped() -> dict[str, type[Method]]:
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


def _installed(point: EntryPoint, package: str) -> type[Method]:
    """The class that an entry point names. Raises UserError if it cannot be imported or is no method with a name."""
    where = f"{package}: entry point {point.name} = {point.value}"
    try:
        value = point.load()
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: {type(error).__name__}: {reason}; mend or uninstall {package}") from None
    named = inspect.isclass(value) and issubclass(value, Method) and isinstance(getattr(value, "name", None), str)
    if not named or inspect.isabstract(value):
        raise UserError(
            f"{where}: not a Method with a name (see docs/add_a_method.md); name such a class or uninstall {package}"
        )
    return value  # type: ignore[no-any-return]


def package_of(name: str) -> str | None:
    """The distribution, with its version, that a method was installed with; None for those of this project."""
    return _registry()[1].get(name)


def make_method(name: str, parameters: Mapping[str, object]) -> Method:
    """Make the method of that name.

    Raises UserError if there is none, or if a parameter is unknown or has a value the method does not take.
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
        UserError: a score is not a finite number, the method does not suit the texts or the number of copies, or
            needs details that they lack.
    """
    method.check(texts, copies)
    _check_details(method, texts)
    if method.reads != "nothing" and tokens is None:
        raise ValueError(f"{method.name} needs token scores")
    method = method.fitted(texts, tokens)
    for text, scored in zip(texts, tokens if tokens is not None else [None] * len(texts), strict=True):
        if scored is not None and scored.id != text.id:
            raise ValueError(f"text {text.id!r} came with the tokens of {scored.id!r}")
        if method.originals:
            yield AugmentedText(text.id, 0, text.text, method.values(text, scored))
        if method.makes_copies:
            for copy in range(1, copies + 1):
                yield AugmentedText(text.id, copy, method.make_copy(text, scored, stream(seed, text, copy), copy))


def stream(seed: int, text: Text, copy: int) -> random.Random:
    """The random stream that a copy of a text is made from."""
    digest = hashlib.sha256(text.text.encode()).hexdigest()
    return random.Random(f"{seed}:{digest}:{text.id}:{copy}")


def _check_details(method: Method, texts: Sequence[Text]) -> None:
    """A text may hold no entity, but a corpus without any does not know them."""
    for text in texts:
        if "subject" in method.details and not text.subject:
            raise UserError(f'text {text.id!r}: {method.name} needs its "subject"; add it to the line of the text')
    if "entities" in method.details and not any(text.entities for text in texts):
        raise UserError(f'{method.name} needs the "entities" of the texts, and none has any; add their offsets')
