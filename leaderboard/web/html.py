"""The page: template, style, scripts, the charts' library and the board's data in one file.

Nothing is fetched and nothing is evaluated: the policy in the page's head allows the scripts and the style whose hashes
it names, and forbids all else, so a name in a record could do nothing even if it came into the page as markup.
"""

import base64
import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.data.token_views import read_folder
from leaderboard.board.model import Board
from leaderboard.web.data import page_data, view_data

HERE = Path(__file__).parent
STYLES = ("page.css", "tokens.css")
SCRIPTS = ("dom.js", "state.js", "table.js", "charts.js", "tokens.js", "main.js")


def html_page(board: Board, folder: Path) -> str:
    """The whole board as an HTML page that stands in `folder`; its links to records are relative to that.

    The token views are those of the folder `tokens` there; none if it is absent. Raises UserError if one is not valid.
    """
    from leaderboard.web.charts import chart_specs

    style = "".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    script = _alone("".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS))
    views = [view_data(view) for some in read_folder(folder / "tokens").values() for view in some]
    parts = {
        "policy": _policy([script, _library()], style),
        "style": style,
        "script": script,
        "library": _library(),
        "data": script_json(page_data(board, folder) | {"views": views, "charts": chart_specs()}),
    }
    template = (HERE / "template.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def script_json(value: dict[str, Any]) -> str:
    """JSON that may stand in a <script> element: nothing in it can end the element or begin another.

    The members of a list stand on lines of their own, so that a change of one row is a change of one line.
    """
    members = (f"{_json(key)}:{_member(inner)}" for key, inner in value.items())
    text = "{\n" + ",\n".join(members) + "\n}"
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _member(value: Any) -> str:
    return "[\n" + ",\n".join(map(_json, value)) + "\n]" if isinstance(value, list) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@lru_cache(maxsize=1)
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as text, with the interpreter that spares the page `unsafe-eval`."""
    import vl_convert

    return _alone(vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;"))


def _alone(script: str) -> str:
    """A script whose names are its own. Raises ValueError if it could end the element it stands in."""
    if re.search(r"</script|<!--", script, re.IGNORECASE):
        raise ValueError("a script of the page holds what would end its element")
    return f'"use strict";(()=>{{\n{script}\n}})();'


def _policy(scripts: list[str], style: str) -> str:
    allowed = " ".join(map(_hash, scripts))
    rules = {
        "default-src": "'none'",
        "script-src": allowed,
        "style-src": _hash(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
