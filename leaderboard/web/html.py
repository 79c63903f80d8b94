"""The page of the board: template, style, scripts, chart library and data in one HTML file.

The Content-Security-Policy in the page's head allows the scripts and the style whose hashes it lists and forbids
everything else, so markup in a record's name could do nothing even if it reached the page as markup.

There is no template engine: the parts of the template are this project's own text, which must not be escaped, and the
data are JSON, for which `script_json` is stricter than HTML escaping.
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

FOLDER = Path(__file__).parent
STYLES = ("page.css", "tokens.css")
SCRIPTS = ("dom.js", "state.js", "table.js", "charts.js", "tokens.js", "main.js")


def html_page(board: Board, folder: Path) -> str:
    """The whole board as one HTML page.

    Args:
        board: The board.
        folder: Folder that the page will be written to. Links to records are relative to it, and token views are read
            from its folder `tokens`, if that exists.

    Raises:
        UserError: A token view is not valid.
    """
    from leaderboard.web.charts import chart_specs

    style = "".join((FOLDER / name).read_text(encoding="utf-8") for name in STYLES)
    script = _in_own_scope("".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS))
    views = [view_data(view) for file_views in read_folder(folder / "tokens").values() for view in file_views]
    parts = {
        "policy": _policy([script, _library()], style),
        "style": style,
        "script": script,
        "library": _library(),
        "data": script_json(page_data(board, folder) | {"views": views, "charts": chart_specs()}),
    }
    template = (FOLDER / "template.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def script_json(value: dict[str, Any]) -> str:
    """JSON for a <script> element: no text in it can close the element or open another.

    Each item of a list is written on its own line, so a changed row of the board is one changed line of the page.
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
    """Vega, Vega-Lite, Vega-Embed and the expression interpreter, with which charts need no `unsafe-eval`."""
    import vl_convert

    return _in_own_scope(vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;"))


def _in_own_scope(script: str) -> str:
    """Wrap a script in a function, so it defines no global names.

    Raises:
        ValueError: The script contains text that would close its element.
    """
    if re.search(r"</script|<!--", script, re.IGNORECASE):
        raise ValueError("a script of the page contains </script or <!--, which would close its element")
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
