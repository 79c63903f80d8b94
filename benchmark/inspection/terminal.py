"""A token view in a terminal: the text once per quantity with coloured backgrounds, and its copies; or a table.

Colour is never the only sign: the strongest tokens are underlined as well. A terminal with fewer than 256 colours, a
pipe or NO_COLOR gets the numbers as a table.
"""

from rich import box
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from benchmark.core.errors import clean
from benchmark.data.token_views import QUANTITIES, Copy, Quantity, Token, TokenView, shades, strongest

UNDERLINED = 5  # number of the strongest tokens that are underlined
GAP = "·"  # stands for each deleted character, where the terminal cannot strike text through

# Background colours (red, green, blue) of the value 0, of the strongest value, and of the strongest negative value.
# They differ in lightness as well, for readers who do not see hues.
_NONE, _HIGH, _LOW = (250, 250, 248), (9, 83, 150), (176, 84, 0)
_TITLES = {
    "large": "large, {}: score of every token",
    "small": "small, {}: score at that token",
    "difference": "difference, large − small",
    "keep": "keep, the probability that a copy keeps the token",
}


def print_view(view: TokenView, console: Console, table: bool = False) -> None:
    """Print a view: in colours, or with `table`, and where the terminal has no colours, in numbers."""
    plain = table or console.no_color or console.color_system not in ("256", "truecolor")
    title = f"{view.source} {view.id}".strip()
    console.print()
    console.print(Text(clean(f"{title}: {view.pair}, {view.method}"), style="bold"))
    if plain:
        console.print(_table(view))
    else:
        for quantity in QUANTITIES:
            if (values := view.values(quantity)) is not None:
                console.print(_heading(view, quantity, values))
                console.print(_coloured(view, quantity, values))
    for number, copy in enumerate(view.copies, start=1):
        console.print(Text(f"copy {number}", style="dim"))
        console.print(_copy(view, copy, struck=not plain))


def _heading(view: TokenView, quantity: Quantity, values: list[float]) -> Text:
    title = _TITLES[quantity].format(clean({"large": view.large, "small": view.small}.get(quantity) or ""))
    scale = Text(f"{title}  ", style="dim")
    limit = strongest(values, quantity)
    steps = (-1.0, -0.5, 0.0, 0.5, 1.0) if min(values) < 0 else (0.0, 0.25, 0.5, 0.75, 1.0)
    signs = {step: sign for step, sign in ((-1.0, "≤"), (1.0, "≥")) if quantity != "keep"}
    for step in steps:
        scale.append(f" {signs.get(step, '')}{number_text(step * limit)} ", _background(step))
    return scale


def _coloured(view: TokenView, quantity: Quantity, values: list[float]) -> Text:
    ranked = sorted(range(len(values)), key=lambda number: -values[number])[:UNDERLINED]
    strengths = shades(values, quantity)

    def style(number: int) -> Style:
        return _background(strengths[number]) + Style(underline=number in ranked and quantity != "keep")

    return _with_styles(view, [(token, style(number)) for number, token in enumerate(view.tokens)])


def _copy(view: TokenView, copy: Copy, struck: bool) -> Text:
    if copy.kept is None:
        return Text(clean(copy.text))
    shown = Text()
    end = 0
    for token, kept in zip(view.tokens, copy.kept, strict=True):
        shown.append(clean(view.text[end : token.start]))
        words = clean(view.text[token.start : token.end])
        if kept or struck:
            shown.append(words, None if kept else Style(strike=True, dim=True))
        else:
            shown.append("".join(letter if letter.isspace() else GAP for letter in words))
        end = token.end
    shown.append(clean(view.text[end:]))
    return shown


def _with_styles(view: TokenView, tokens: list[tuple[Token, Style]]) -> Text:
    """The text with its tokens in their styles; characters between tokens have none."""
    shown, end = Text(), 0
    for token, style in tokens:
        shown.append(clean(view.text[end : token.start]))
        shown.append(clean(view.text[token.start : token.end]), style)
        end = token.end
    shown.append(clean(view.text[end:]))
    return shown


def _table(view: TokenView) -> Table:
    shown = [quantity for quantity in QUANTITIES if view.values(quantity) is not None]
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1), header_style="bold")
    grid.add_column("token", overflow="fold")
    for quantity in shown:
        grid.add_column(quantity, justify="right", no_wrap=True)
    for token in view.tokens:
        numbers = [number_text(getattr(token, quantity)) for quantity in shown]
        grid.add_row(Text(clean(view.text[token.start : token.end]).strip(" ") or "␣"), *numbers)
    return grid


def number_text(value: float) -> str:
    """A score with three significant digits."""
    return f"{value:.3g}".replace("-", "−")


def _background(strength: float) -> Style:
    """The style of a token: its background, and a letter colour that is readable on it."""
    end, share = (_HIGH, strength) if strength >= 0 else (_LOW, -strength)
    mixed = [round(zero + (full - zero) * share) for zero, full in zip(_NONE, end, strict=True)]
    red, green, blue = mixed
    letters = Color.from_rgb(255, 255, 255) if share > 0.55 else Color.from_rgb(0, 0, 0)
    return Style(bgcolor=Color.from_rgb(red, green, blue), color=letters)
