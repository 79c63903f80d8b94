"""The one exception whose message is meant for the user."""


class UserError(Exception):
    """Bad input. The message is one line that names the file or field and the remedy; the CLI exits with code 2."""


def nearest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Say what is known beside `name`, the most similar entry first: for the end of an error line."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"
