import csv
import html
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from benchmark.core.errors import UserError
from leaderboard.board.assemble import build_board, load_records
from leaderboard.build import BEGIN, END, build, check
from leaderboard.views.markdown import markdown_text
from leaderboard.views.terminal import print_board
from tests.leaderboard.factory import write_record

EVIL = "a|b <img src=x> [red]x[/red] ![i](http://e.x) \x1b[31m\u202e`c` <!-- board:end -->"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house with a README and records of three methods, the dropouts with long names."""
    results = tmp_path / "leaderboard" / "results" / "tiny"
    for seed in (1, 2):
        write_record(results, seed=seed)
        for method in ("contrastive_dropout", "released_difference"):
            write_record(results, method, seed=seed, method__parameters={"alpha": 0.65, "beta": 0.005})
    (tmp_path / "README.md").write_text(f"# House\n{BEGIN}\nof before\n{END}\nafter\n", encoding="utf-8")
    return tmp_path


def build_in(house: Path) -> None:
    build(house / "leaderboard" / "results", house / "leaderboard", house / "README.md")


def check_in(house: Path) -> list[str]:
    return check(house / "leaderboard" / "results", house / "leaderboard", house / "README.md")


def contents(house: Path) -> list[bytes]:
    names = ("README.md", "leaderboard/README.md", "leaderboard/board.csv", "leaderboard/index.html")
    return [(house / name).read_bytes() for name in names]


def test_building_twice_gives_the_same_bytes_and_passes_the_check(house: Path) -> None:
    build_in(house)
    first = contents(house)
    build_in(house)
    assert contents(house) == first
    assert check_in(house) == []
    there = sorted(path.name for path in (house / "leaderboard").iterdir())
    assert there == ["README.md", "board.csv", "index.html", "results"]


def test_the_board_does_not_depend_on_the_folder_of_the_project(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_in(house)
    first = contents(house)
    monkeypatch.chdir(house / "leaderboard")
    build(Path("results"), Path(), Path("../README.md"))
    assert contents(house) == first


@pytest.mark.parametrize("name", ["README.md", "leaderboard/README.md", "leaderboard/board.csv"])
def test_the_check_names_the_file_and_line_of_an_edited_number(house: Path, name: str) -> None:
    build_in(house)
    path = house / name
    lines = path.read_text(encoding="utf-8").split("\n")
    number = next(i for i, line in enumerate(lines) if "released" in line and re.search(r"\.\d\d\d", line))
    lines[number] = re.sub(r"\.(\d)\d\d", r".\g<1>xx", lines[number], count=1)
    path.write_text("\n".join(lines), encoding="utf-8")
    (problem,) = check_in(house)
    assert problem.startswith(f"{path}:{number + 1}: ")


def test_the_check_notices_a_missing_file_and_a_new_record(house: Path) -> None:
    build_in(house)
    (house / "leaderboard" / "board.csv").unlink()
    assert len(check_in(house)) == 1
    write_record(house / "leaderboard" / "results", seed=3)
    assert len(check_in(house)) == 3


def test_the_check_needs_no_page_since_git_does_not_track_it(house: Path) -> None:
    build_in(house)
    (house / "leaderboard" / "index.html").unlink()
    assert check_in(house) == []


def test_the_check_refuses_a_record_changed_by_hand(house: Path) -> None:
    build_in(house)
    path = min((house / "leaderboard" / "results").rglob("contrastive*.json"))
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": 1', '"seed": 7'), encoding="utf-8")
    with pytest.raises(UserError, match=path.name):
        check_in(house)


def test_the_readme_changes_only_between_the_marks(house: Path) -> None:
    build_in(house)
    text = (house / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# House\n{BEGIN}\n| Method ")
    assert text.endswith(f"{END}\nafter\n")
    assert "of before" not in text
    assert "(leaderboard/README.md)" in text


@pytest.mark.parametrize("text", ["nothing", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_readme_without_one_pair_of_marks_is_refused_and_nothing_is_written(house: Path, text: str) -> None:
    (house / "README.md").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="board:begin"):
        build_in(house)
    assert not (house / "leaderboard" / "README.md").exists()
    assert (house / "README.md").read_text(encoding="utf-8") == text


def test_every_number_leads_to_its_records(house: Path) -> None:
    write_record(house / "leaderboard" / "results" / "an odd (folder)|", "odd")
    build_in(house)
    folder = house / "leaderboard"
    links = re.findall(r"\[\d+\]\(([^)]*)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert {folder / unquote(link) for link in links} == set(folder.rglob("*.json"))
    with (folder / "board.csv").open(encoding="utf-8") as file:
        named = {folder / unquote(path) for row in csv.DictReader(file) for path in row["records"].split()}
    assert named == set(folder.rglob("*.json"))


def test_the_csv_has_a_line_per_row_with_the_numbers_of_the_board(house: Path) -> None:
    build_in(house)
    (table,) = build_board(load_records(house / "leaderboard" / "results")).tables
    with (house / "leaderboard" / "board.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["label"] for line in lines] == [row.label for row in table.rows]
    for line, row in zip(lines, table.rows, strict=True):
        assert float(line["exact_match_low"]) == pytest.approx(row.headline.low, abs=1e-6)
        assert float(line["exact_match_company_high"]) == pytest.approx(row.fields["company"].high, abs=1e-6)
        against = row.to_baseline
        assert line["difference"] == ("" if against is None else str(round(against.interval.mean, 6)))


def test_names_from_records_are_shown_as_text(house: Path) -> None:
    write_record(
        house / "leaderboard" / "results", EVIL, name="evil", model__name=EVIL, suite=EVIL, training__budget=EVIL
    )
    write_record(house / "leaderboard" / "results", "=cmd()", name="formula")
    build_in(house)
    assert check_in(house) == []
    for name in ("README.md", "leaderboard/README.md"):
        text = (house / name).read_text(encoding="utf-8")
        assert "<img" not in text
        assert "![i]" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        for block in text.split("\n\n"):
            table = [line for line in block.split("\n") if line.startswith("|")]
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) <= 1
    assert (house / "README.md").read_text(encoding="utf-8").count(END) == 1
    cells = [cell for line in csv.reader((house / "leaderboard" / "board.csv").open(encoding="utf-8")) for cell in line]
    assert "'=cmd()" in cells
    assert not any(cell.startswith("=") or "\x1b" in cell for cell in cells)


@given(st.lists(st.sampled_from([*"ab_*`[]()!|\\<>&;~$@:/#- .\n", "http://a.b", "www.a.b"])).map("".join))
@example("__a__")
def test_a_markdown_reader_shows_any_name_in_a_table_as_it_is(name: str) -> None:
    page = MarkdownIt("commonmark").enable("table").render(f"|a|b|\n|-|-|\n|{markdown_text(name)}|x|\n")
    (cell,) = re.findall(r"<td>(.*?)</td>\n<td>x</td>", page, re.DOTALL)
    assert html.unescape(cell).strip() == name.replace("\n", "�").strip()
    assert "<" not in cell


def test_addresses_in_names_do_not_become_links() -> None:
    assert markdown_text("http://a.b www.a.b a@b.c _x_ a_b") == r"http\://a.b www\.a.b a\@b.c \_x\_ a_b"


def test_the_terminal_shows_every_row_whole_in_a_hundred_columns(house: Path) -> None:
    results = house / "leaderboard" / "results"
    write_record(results, "contrastive_dropout", seed=3, method__parameters={"alpha": 0.65, "beta": 0.005})
    output = io.StringIO()
    print_board(build_board(load_records(results)), Console(file=output, width=100, force_terminal=False))
    lines = output.getvalue().split("\n")
    assert max(map(len, lines)) <= 100
    assert "…" not in output.getvalue()
    (table,) = build_board(load_records(results)).tables
    for row in table.rows:
        mean = f"{row.headline.mean:.2f}".removeprefix("0")
        assert any(row.method in line and mean in line for line in lines)


def test_the_terminal_shows_markup_in_names_as_text_and_no_escapes(tmp_path: Path) -> None:
    write_record(tmp_path, EVIL, name="evil", model__name=EVIL)
    output = io.StringIO()
    print_board(build_board(load_records(tmp_path)), Console(file=output, width=400, force_terminal=False))
    assert "[red]x[/red]" in output.getvalue()
    assert "\x1b" not in output.getvalue()


def test_a_folder_that_cannot_be_written_is_a_one_line_error(house: Path) -> None:
    (house / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        build(house / "leaderboard" / "results", house / "file" / "board")


def test_the_leaderboard_imports_neither_torch_nor_transformers_nor_the_stages() -> None:
    code = (
        "import sys, leaderboard.build, leaderboard.views.terminal, benchmark.records.comparable;"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers') or 'stages' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_full_disk_leaves_the_old_board_unchanged(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_in(house)
    before = contents(house)
    write_record(house / "leaderboard" / "results" / "tiny", seed=3)
    synced: list[int] = []

    def full_at_the_last(_: int) -> None:
        synced.append(1)
        if len(synced) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_at_the_last)
    with pytest.raises(UserError, match=r"README.md: cannot be written \(No space left on device\); make room"):
        build_in(house)
    assert contents(house) == before
    assert [path.name for path in house.rglob(".*")] == []
