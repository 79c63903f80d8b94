"""The measurement of the time to a first step, on a small GGUF file."""

import json
from pathlib import Path

import pytest

from benchmark.models.spec import ZOO
from perf.first_step import main
from scripts.strangers.models import write_gguf


@pytest.mark.slow
def test_the_three_ways_to_load_a_model_agree_in_every_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_gguf(ZOO / "small", tmp_path / "small.gguf")
    assert main([str(file), "--threads", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["weights"] for row in rows] == ["from the file", "unpacked now", "unpacked before"]
    assert len({row["bits"] for row in rows}) == 1
    assert all(0 < row["loaded_s"] <= row["first_step_s"] and row["peak_gib"] > 0 for row in rows)
