"""The suite file that `benchmark corpus` writes for a user's own documents."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.core.inputs import reading, regular_file
from benchmark.data.written import TRAINED
from benchmark.methods import make_method
from benchmark.methods.written import WrittenMethod
from benchmark.models.spec import ModelSpec
from benchmark.suite.schema import Suite, validate
from benchmark.writing.settings import Endpoint, Writer

BIG, LITTLE = "zoo:large", "zoo:small"
METHODS = ("plain", "plain_matched", "random_dropout")
METHODS_OF_A_PAIR = ("contrastive_dropout",)
METHODS_OF_A_WRITER = ("self_qa", "rewrite")
_MARK = "# benchmark corpus wrote this. A changed file is left alone; run it with `benchmark run FILE`. "


def content_for(
    task: Mapping[str, Any],
    model: str = BIG,
    small: str | None = None,
    methods: Sequence[str] = (),
    steps: int = 400,
    seeds: Sequence[int] = (1,),
    texts_by: Writer | None = None,
) -> dict[str, Any]:
    """The content of a suite file that compares methods on a user's documents.

    Args:
        task: The options of the task `corpus`; `path` is required.
        model: The model to train, also the large model of the pair.
        small: The small model of the pair; None for no pair, or for the shipped small model if `model` is the shipped
            large one.
        methods: Names of methods; by default the baselines and random dropout, with a pair contrastive dropout, and
            with a writer `METHODS_OF_A_WRITER`.
        steps: Optimizer steps of every method but `plain`.
        seeds: A cell per seed.
        texts_by: The writer of methods that train on written texts; None for the trained model itself.

    Raises:
        UserError: A method is unknown, or needs a pair and there is none; or there is a writer and no method for it.
    """
    small = small or (LITTLE if model == BIG else None)
    by_default = (
        *METHODS,
        *(METHODS_OF_A_PAIR if small else ()),
        *(METHODS_OF_A_WRITER if texts_by else ()),
    )
    writer = _name(texts_by.model) if texts_by else ""
    writer += "-writer" if writer == TRAINED else ""
    chosen = [make_method(name, {}) for name in methods or by_default]
    if texts_by and not any(isinstance(method, WrittenMethod) for method in chosen):
        raise UserError("--texts-by: no method in --methods has a writer; add self_qa or rewrite, or leave it out")
    for method in chosen:
        if method.uses_pair and not small:
            raise UserError(f"method {method.name!r} needs a pair of models; name the small model with --small")
    given = {key: value for key, value in task.items() if value}
    with reading("task corpus", *(value for value in given.values() if isinstance(value, Path))):
        paths = {key: str(value.expanduser().resolve()) for key, value in given.items() if isinstance(value, Path)}
    task = {"name": "corpus", **given, **paths}
    large, little = _name(model), _name(small) if small else ""
    little += "-small" if little == large else ""
    stem = "".join(c if c.isascii() and c.isalnum() else "_" for c in Path(task["path"]).stem.lower())
    content: dict[str, Any] = {
        "name": f"corpus_{stem[:90]}",
        "models": {large: _from_anywhere(model), **({little: _from_anywhere(small)} if small else {})},
        "pairs": {large: {"large": large, "small": little}} if small else {},
        **({"writers": {writer: _writer_from_anywhere(texts_by)}} if texts_by else {}),
        "tasks": [task],
        "train": [large],
        "methods": [
            {
                "name": method.name,
                **method.model_dump(include={"alpha", "beta"}),
                **({"writer": writer} if writer and isinstance(method, WrittenMethod) else {}),
            }
            for method in chosen
        ],
        "seeds": list(seeds),
        "long_texts": "split",
        "budgets": [{"steps": steps}],
    }
    if model.startswith("zoo:"):  # as in the suite `tiny`
        content["recipe"] = {"adaptation": "full", "learning_rate": 4e-4, "batch_size": 16}
    return content


def check_models(content: dict[str, Any]) -> Suite:
    """The suite of a content, without a look at its documents.

    Raises:
        UserError: The content is no valid suite, or its models cannot be read.
    """
    suite = validate(content, "benchmark corpus")
    for spec in (*suite.models.values(), *suite.local_writers.values()):
        _ = spec.local  # raises if it cannot be read
    return suite


def write_suite(content: dict[str, Any], folder: Path) -> tuple[Path, Suite]:
    """Write a suite to FOLDER/NAME.yaml; returns the file and the suite.

    Raises:
        UserError: The content is no valid suite, its models or documents cannot be read, or the file exists and was
            edited by hand.
    """
    file = folder / f"{content['name']}.yaml"
    suite = check_models(content)
    for task in suite.tasks:
        task.load()
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    if file.exists():
        head, _, body = regular_file(file, "remove it").read_bytes().partition(b"\n")
        if head.decode("utf-8", "replace") != _head(body.decode("utf-8", "replace")):
            raise UserError(f"{file}: was changed by hand; run it with `benchmark run {file}`, or rename it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; give a folder that can be written with --results") from None
    write_atomically(file, f"{_head(text)}\n{text}")
    return file, suite


def _head(body: str) -> str:
    """The first line of a suite file, with a hash that shows whether the file was edited."""
    return f"{_MARK}{hashlib.sha256(body.encode()).hexdigest()[:16]}"


def _name(model: str) -> str:
    """The model's name on the board: the last part of its id or path."""
    return Path(model).name.replace(":", "-") or "model"


def _from_anywhere(model: str) -> str:
    """The absolute path of a local model; hub ids and zoo names unchanged."""
    local = ModelSpec(model=model).local
    return str(local.resolve()) if local and not model.startswith("zoo:") else model


def _writer_from_anywhere(writer: Writer) -> dict[str, Any]:
    """The entry of a writer in a suite, with the absolute path of a local model."""
    fields = writer.model_dump(mode="json", exclude_unset=True)
    return fields if isinstance(writer, Endpoint) else {**fields, "model": _from_anywhere(writer.model)}
