"""What a GPU computes in float32 is close to what the CPU computes."""

from pathlib import Path

import pytest

import benchmark
from benchmark.records.record import Record, read_record
from scripts.runs import finish, write_small_suite

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
TEXTS = ["Ada Moss was born in Lagos.", "Ada Moss studied law in Lima, and moved to Oslo. " * 4]


@pytest.mark.parametrize("reduction", ["received", "received_strict", "released", "loss"])
def test_token_scores_on_a_gpu_are_close_to_those_on_a_cpu(reduction: str) -> None:
    on_gpu, on_cpu = (
        benchmark.score(TEXTS, "zoo:small", reduction=reduction, device=device) for device in (DEVICE, "cpu")
    )
    assert list(on_gpu["token"]) == list(on_cpu["token"])
    assert list(on_gpu["score"]) == pytest.approx(list(on_cpu["score"]), rel=1e-3, abs=1e-4)


def test_a_suite_on_a_gpu_gives_losses_and_perplexities_close_to_those_on_a_cpu(tmp_path: Path) -> None:
    on_gpu, on_cpu = (records(tmp_path / device, device) for device in (DEVICE, "cpu"))
    assert on_gpu.keys() == on_cpu.keys()
    for name, record in on_gpu.items():
        assert record.environment.device != on_cpu[name].environment.device
        assert numbers(record) == pytest.approx(numbers(on_cpu[name]), rel=0.01), name


def records(folder: Path, device: str) -> dict[str, Record]:
    """The records of the smallest suite with every kind of stage, by method."""
    folder.mkdir()
    finish(write_small_suite(folder, device=device), folder)
    found = map(read_record, folder.glob("records/*/*.json"))
    return {record.method.name: record for record in found}


def numbers(record: Record) -> list[float]:
    losses = [record.training.loss_first, record.training.loss_last] if record.training else []
    return [*losses, *(entry.after for entry in record.retention.values())]
