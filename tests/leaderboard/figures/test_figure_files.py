"""The files of a figure, and the command `figures`."""

import csv
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from benchmark.cli import app as cli
from leaderboard.figures.charts import accuracy_chart, attended_chart
from leaderboard.figures.write import compressed, write_figure
from tests.leaderboard.factory import write_record
from tests.tiny import make_tiny_model

SHARES = [
    {"of": of, "fact": fact, "rank": rank, "kind": kind, "share": 0.5, "people": 2}
    for of in ("big", "little")
    for fact in ("birth_date", "major")
    for rank in (1, 2)
    for kind in ("name", "other")
]
BAR = {"mark": "bar", "data": {"values": [{"a": 1}]}, "encoding": {"x": {"field": "a", "type": "quantitative"}}}


def test_a_figure_is_written_with_its_numbers_and_equal_numbers_give_equal_bytes(tmp_path: Path) -> None:
    files = write_figure(tmp_path, "fig2-p", SHARES, attended_chart(SHARES, "What & why", 2))
    assert [file.name for file in files] == ["fig2-p.csv", "fig2-p.svg", "fig2-p.png"]
    with files[0].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{key: str(value) for key, value in line.items()} for line in SHARES]
    svg = files[1].read_text(encoding="utf-8")
    for words in ("What &amp; why", "big", "little", "before the birth date", "before the major", "Share of 2 people"):
        assert words in svg
    before = [file.read_bytes() for file in files]
    write_figure(tmp_path, "fig2-p", SHARES, attended_chart(SHARES, "What & why", 2))
    assert [file.read_bytes() for file in files] == before


def pixels(png: bytes) -> tuple[list[bytes], bytes]:
    """The types of a PNG's chunks, after a check of their checksums, and the pixels with their filter bytes."""
    offset, kinds, data = 8, [], b""
    while offset < len(png):
        (length,) = struct.unpack(">I", png[offset : offset + 4])
        kind, body = png[offset + 4 : offset + 8], png[offset + 8 : offset + 8 + length]
        assert struct.unpack(">I", png[offset + 8 + length : offset + 12 + length]) == (zlib.crc32(kind + body),)
        kinds.append(kind)
        data += body if kind == b"IDAT" else b""
        offset += 12 + length
    return list(dict.fromkeys(kinds)), zlib.decompress(data)


def test_a_compressed_png_has_the_same_pixels_in_fewer_bytes() -> None:
    png = vl_convert.vegalite_to_png(BAR)
    small = compressed(png)
    assert pixels(small) == pixels(png)
    assert len(small) < len(png)
    assert small[:8] == png[:8]


def test_figure_1_of_two_tables_names_both_tables_and_their_methods(tmp_path: Path) -> None:
    from leaderboard.figures.accuracy import accuracy_lines

    for steps in (400, 1600):
        for method in ("plain", "contrastive_dropout"):
            write_record(
                tmp_path, method, training__budget=f"{steps} steps", distance=lambda field, person: 3 + person % 9
            )
    lines = accuracy_lines(tmp_path, "tiny", lambda record: None)
    svg = vl_convert.vegalite_to_svg(accuracy_chart(lines, "tiny").to_dict())
    for words in ("400 steps", "1600 steps", "contrastive_dropout", "birth date", "distance from the name in tokens"):
        assert words in svg


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmark", "figures", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(str(end.code or 0))
    return 0


def test_two_models_given_by_name_make_figures_2_and_3(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmark.inspection import attended

    monkeypatch.chdir(tmp_path)
    people = attended.biographies(None)[:5]
    monkeypatch.setattr(attended, "biographies", lambda suite: people)
    make_tiny_model(tmp_path / "other", seed=1)
    assert run(monkeypatch, "--large", str(tiny), "--small", "other", "--out", "figures") == 0
    written = sorted(file.name[:4] + file.suffix for file in Path("figures").iterdir())
    assert written == ["fig2.csv", "fig2.png", "fig2.svg", "fig3.csv", "fig3.png", "fig3.svg"]
    for line in capsys.readouterr().out.strip().splitlines():
        assert all(Path(name).is_file() for name in line.split(", "))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["4"], "figure '4'"),
        (["--large", "zoo:large", "--suite", "tiny"], "--large"),
        (["1", "--large", "zoo:large"], "Figure 1"),
        (["--small", "zoo:small"], "--large"),
        (["3", "--large", "zoo:large"], "--small"),
        (["1", "--records", "nowhere"], "nowhere"),
    ],
)
def test_wrong_arguments_give_an_error_of_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[Any],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
