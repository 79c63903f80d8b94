"""Exceptions whose message is meant for the user, and helpers that make such messages short, safe and helpful."""

import errno
import os
import re
import unicodedata

# Errors of the system that the user can mend: a wrong path, a full or broken disk, a folder that cannot be written.
USER_ERRNOS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip
MAX_MESSAGE = 2000  # characters of a message
# Environment variables that hold the token for gated models, and keys of object stores.
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
# Unicode categories of characters that control a terminal or the writing direction, and of lone surrogates.
CONTROL_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class UserError(Exception):
    """Bad input. The message is one line that names the file or field and the remedy; the command exits with code 2.

    A message may quote anything: runs of white space become one space, secrets become ***, and the middle of a line
    that is too long is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(hide_secrets(message).split())
        super().__init__(line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 500]} … {line[-490:]}")


def hide_secrets(text: str) -> str:
    """Replace tokens and keys, and passwords and signatures in addresses, by ***: answers of servers may quote them."""
    for token in filter(None, (os.environ.get(name, "").strip() for name in TOKENS)):
        text = text.replace(token, "***")
    text = re.sub(r"\bhf_[A-Za-z0-9]{16,}", "***", text)
    text = re.sub(r"(?i)\b(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=)[^&\s\"']+", r"\1***", text)
    return re.sub(r"(?<=://)[^/\s@]{1,999}@", "***@", text)


def clean(text: str) -> str:
    """Replace characters that control a terminal or the writing direction, line breaks among them, by �."""
    return "".join("�" if unicodedata.category(letter) in CONTROL_CATEGORIES else letter for letter in text)


def one_line(error: BaseException) -> str:
    """An error's message, shortened to 160 characters on one line, without secrets."""
    return clean(" ".join(hide_secrets(str(error)).split()))[:160]


def library_error(error: BaseException, longest: int = 400) -> str:
    """A library's error as one line: its type and its message, shortened in the middle.

    All lines of the message are kept, because the first is often a heading and the cause follows below it.
    """
    message = clean(" ".join(hide_secrets(str(error)).split()))
    message = message if len(message) <= longest else f"{message[: longest * 2 // 3]} … {message[-longest // 3 :]}"
    return f"{type(error).__name__}: {message}"


def check_known(what: str, value: str, known: tuple[str, ...]) -> None:
    """Raise UserError, with the most similar known value, if `value` is not known; `what` is the option or field."""
    if value not in known:
        raise UserError(f"{what} {value!r}: unknown; {nearest(value, known)}")


def nearest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """The end of an error message about an unknown name: the most similar known name, then all known names."""
    return f"{did_you_mean(name, known)}known: {', '.join(sorted(known)) or 'none'}"


def did_you_mean(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Ask "did you mean …? " about the most similar known name; empty if none is similar."""
    import difflib

    # Comparing long names takes minutes, and such names are not typing errors.
    known = [other for other in known if len(other) <= MAX_MESSAGE] if len(name) <= MAX_MESSAGE else []
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""


class StageFailed(Exception):
    """A stage failed through no fault of the user. The message says how, with a traceback where there is one."""
