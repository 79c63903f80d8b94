"""Token views: their file, the strength of colours, and what a terminal shows."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.core.errors import UserError
from benchmark.data.token_views import TokenView, read_folder, read_views, shades, strongest, views_json
from benchmark.inspection.terminal import print_view
from benchmark.tasks.biography import biography
from tests.conftest import ROOT

VIEW: dict[str, Any] = {
    "id": "a",
    "pair": "big − little",
    "large": "big",
    "small": "little",
    "method": "contrastive_dropout α=0.6 β=0.03",
    "text": "Ana was born.",
    "tokens": [
        {"start": 0, "end": 3, "large": 0.5, "small": 0.25, "difference": 0.25, "keep": 1},
        {"start": 3, "end": 7, "large": 0.125, "small": 0.25, "difference": -0.125, "keep": 0.5},
        {"start": 8, "end": 13, "large": 0.25, "small": 0.25, "difference": 0, "keep": 0.75},
    ],
    "copies": [{"text": "Ana born.", "kept": [True, False, True]}],
}


def view(**changes: Any) -> TokenView:
    return TokenView.model_validate({**VIEW, **changes})


def printed(shown: TokenView, table: bool = False, **console: Any) -> str:
    out = io.StringIO()
    print_view(shown, Console(file=out, width=100, **console), table)
    return out.getvalue()


def test_views_read_from_a_file_equal_those_written(tmp_path: Path) -> None:
    views = (view(), view(id="b", copies=[]))
    (tmp_path / "tiny.json").write_text(views_json(views), encoding="utf-8")
    assert read_views(tmp_path / "tiny.json") == views
    assert read_folder(tmp_path) == {"big − little": views}
    assert read_folder(tmp_path / "absent") == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "Ana was"}, "tokens[2]: characters 8 to 13"),
        ({"tokens": [VIEW["tokens"][1], VIEW["tokens"][0]]}, "tokens[1]: characters 0 to 3"),
        ({"copies": [{"text": "", "kept": [True]}]}, "copies[0].kept: 1 entries for a text of 3 tokens"),
        ({"tokens": [{**VIEW["tokens"][0], "keep": 1.5}]}, "tokens.0.keep"),
        ({"tokens": []}, "tokens"),
        ({"secret": 1}, "secret"),
    ],
)
def test_an_invalid_file_is_refused_with_its_name_and_the_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps([{**VIEW, **changes}]))
    with pytest.raises(UserError, match=re.escape(message)) as error:
        read_views(file)
    assert str(error.value).startswith(f"{file}: ")


def test_the_ninth_of_ten_absolute_values_has_the_strongest_colour_and_keep_is_a_share() -> None:
    values = [0.1, -0.2, 0.3, -0.4, 0.5, 0.6, 0.7, -0.8, 2.0, 100.0]
    assert strongest(values, "difference") == 2.0
    assert shades(values, "difference") == pytest.approx([0.05, -0.1, 0.15, -0.2, 0.25, 0.3, 0.35, -0.4, 1, 1])
    assert strongest([0.2, 0.4], "keep") == 1.0
    assert shades([0.4, 1.0], "keep") == [0.4, 1.0]
    assert shades([0.0, 0.0], "large") == [0.0, 0.0]


def test_without_colours_a_table_shows_all_numbers_and_dots_show_what_a_copy_lacks() -> None:
    for out in (printed(view()), printed(view(), color_system="truecolor", no_color=True), printed(view(), table=True)):
        assert "\x1b[38" not in out
        assert "\x1b[48" not in out
        rows = [line.split() for line in out.splitlines()]
        assert ["was", "0.125", "0.25", "−0.125", "0.5"] in rows
        assert ["born.", "0.25", "0.25", "0", "0.75"] in rows
        assert "Ana ··· born." in out


def test_with_colours_every_quantity_shows_the_whole_text_and_copies_strike_deleted_tokens_through() -> None:
    out = printed(view(), force_terminal=True, color_system="truecolor")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert lines.count("Ana was born.") == 5  # four quantities and the copy
    assert re.search(r"\x1b\[2;9m was\x1b\[0m born\.", out)
    assert "48;2;9;83;150mAna" in out  # the largest difference on the strongest background, white on it


def test_quantities_that_a_view_lacks_are_not_shown() -> None:
    tokens = [{"start": 0, "end": 3, "large": 0.5}]
    out = printed(view(small=None, tokens=tokens, copies=[{"text": "Ana?"}]))
    assert "small" not in out
    assert "keep" not in out
    assert "Ana?" in out


def test_terminal_control_characters_are_replaced() -> None:
    text = "Ana\x1b[31m\u202e"
    hostile = view(id="\x1b]0;x\x07", text=text, tokens=[{"start": 0, "end": 5, "large": 1.0}], copies=[{"text": text}])
    for out in (printed(hostile), printed(hostile, force_terminal=True, color_system="truecolor")):
        assert "\x1b[31m" not in out
        assert "\x1b]" not in out
        assert "\u202e" not in out


def test_the_shipped_views_show_shipped_texts_and_their_numbers_add_up() -> None:
    shipped = read_folder(ROOT / "leaderboard" / "tokens")
    texts = {person["id"]: person["text"] for person in biography.read_people()}
    mini = (json.loads(line) for line in (ROOT / "tasks/wikipedia/mini.jsonl").read_text(encoding="utf-8").splitlines())
    texts |= {paragraph["id"]: paragraph["text"] for paragraph in mini}
    assert set(shipped) == {"tiny", "smollm2"}
    for views in shipped.values():
        assert len(views) == 3
        for shown in views:
            assert shown.text == texts[shown.id]
            assert {shown.text[token.start : token.end] for token in shown.tokens if token.keep == 1} >= {"."}
            for token in shown.tokens:
                assert token.small is not None
                assert token.difference == pytest.approx(token.large - token.small, abs=1e-6)


def test_views_are_read_without_torch() -> None:
    code = "import sys, benchmark.data.token_views, benchmark.inspection.terminal; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
