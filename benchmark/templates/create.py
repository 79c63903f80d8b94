"""Write a new method, task or model from templates that work as they are."""

import keyword
from pathlib import Path

from benchmark import ROOT
from benchmark.core.errors import UserError
from benchmark.core.files import write_all
from benchmark.corpora import TASK_KINDS
from benchmark.methods import METHODS

TEMPLATES = Path(__file__).parent
_FILES = {
    "method": {"benchmark/methods/{name}.py": "method.txt"},
    "task": {
        "benchmark/corpora/{name}.py": "corpus.txt",
        "tasks/{name}/{name}.py": "lm_eval.txt",
        "tasks/{name}/{name}.yaml": "yaml.txt",
        "tasks/{name}/{name}.jsonl": "data.txt",
    },
    "model": {"{name}.yaml": "suite.txt"},
}
KINDS = tuple(_FILES)
_CHECKS = {
    "method": "python -m pytest tests/methods -k {name}",
    "task": "lm_eval --model hf --model_args pretrained=benchmark/models/zoo/large --include_path tasks --tasks {name}",
    "model": "benchmark plan {name}.yaml",
}


def create(kind: str, name: str, model: str | None = None, root: Path | None = None) -> tuple[list[Path], str]:
    """Write the files of a new method, task or model.

    Args:
        kind: One of KINDS. A model is a suite that compares methods on it.
        name: Its name in suites.
        model: With the kind "model": hub id, folder or .gguf file; by default the large model of the tiny pair.
        root: Folder to write to; by default the project's, or for a model the current one.

    Returns:
        The files, and a command that checks them.

    Raises:
        UserError: The name is invalid or already in use, or a file exists already or cannot be written.
    """
    is_word = name.isidentifier() and name.isascii() and len(name) <= 100 and name == name.lower()
    if not is_word or keyword.iskeyword(name) or name.startswith("_"):
        raise UserError(f"{kind} {name!r}: expected a name of small letters, digits and _, as sentence_echo")
    taken = {"method": list(METHODS), "task": list(TASK_KINDS), "model": []}[kind]
    if name in taken:
        raise UserError(f"{kind} {name!r}: already exists; give another name")
    if root is None and kind != "model" and not (ROOT / "tasks").is_dir():
        raise UserError(f"{kind} {name!r}: {ROOT} is no checkout of the project; clone it and run this command there")
    folder = root or (Path() if kind == "model" else ROOT)
    words = {
        "{name}": name,
        "{Class}": "".join(part.capitalize() for part in name.split("_")),
        "{Words}": name.replace("_", " ").capitalize(),
        "{model}": model or "zoo:large",
    }
    files = {folder / path.replace("{name}", name): template for path, template in _FILES[kind].items()}
    for file in files:
        if file.exists():
            raise UserError(f"{file}: already exists; give another name or remove it first")
    texts = {}
    for file, template in files.items():
        content = (TEMPLATES / template).read_text(encoding="utf-8")
        for word, value in words.items():
            content = content.replace(word, value)
        texts[file] = content
    try:
        write_all(texts)
    except OSError as error:
        path = error.filename or folder
        raise UserError(f"{path}: {error.strerror}; run this in a checkout that can be written to") from None
    return list(files), _CHECKS[kind].replace("{name}", name)
