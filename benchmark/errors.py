"""The one exception whose message is meant for the user, and the system's errors that are the user's to mend."""

import errno

# What a path of the user's, a full or broken disk, or a folder that cannot be written makes.
MISTAKES = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip


class UserError(Exception):
    """Bad input. The message is one line that names the file or field and the remedy; the CLI exits with code 2."""


def nearest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Say what is known beside `name`, the most similar entry first: for the end of an error line."""
    return f"{did_you_mean(name, known)}known: {', '.join(sorted(known)) or 'none'}"


def did_you_mean(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Ask whether the most similar entry is meant, with a space after it; empty if none is similar."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""
