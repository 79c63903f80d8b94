"""Model folders with a configuration and a tokenizer, but no weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.models.spec import ZOO

Written = Callable[[str, dict[str, Any]], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a model folder: config.json with the given content, and the tokenizer of the zoo."""

    def write(name: str, content: dict[str, Any]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(content))
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(ZOO / "large" / file, folder)
        return folder

    return write
