"""The one exception whose message is meant for the user, and the system's errors that are the user's to mend."""

import errno
import os
import re
import unicodedata

# What a path of the user's, a full or broken disk, or a folder that cannot be written makes.
MISTAKES = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip
LONGEST = 2000  # letters of a message
# Variables that hold the token of gated models, and keys of object stores.
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")
STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # what steers a terminal or the direction of writing, and half characters


class UserError(Exception):
    """Bad input. The message is one line that names the file or field and the remedy; the CLI exits with code 2.

    What a message quotes may be of any size and shape: white space becomes single spaces, of an endless line the middle
    is left out, and so is a token.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(hide(message).split())
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 500]} … {line[-490:]}")


def hide(text: str) -> str:
    """The text without tokens and keys, and without passwords and signatures in addresses: an answer may quote them."""
    for token in filter(None, (os.environ.get(name, "").strip() for name in TOKENS)):
        text = text.replace(token, "***")
    text = re.sub(r"\bhf_[A-Za-z0-9]{16,}", "***", text)
    text = re.sub(r"(?i)\b(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=)[^&\s\"']+", r"\1***", text)
    return re.sub(r"(?<=://)[^/\s@]{1,999}@", "***@", text)


def clean(text: str) -> str:
    """Text on one line, with what steers a terminal or the direction of writing replaced by �."""
    return "".join("�" if unicodedata.category(letter) in STEERING else letter for letter in text)


def one_line(error: BaseException) -> str:
    """An error's words: short, on one line, without secrets."""
    return clean(" ".join(hide(str(error)).split()))[:160]


def library_error(error: BaseException, longest: int = 400) -> str:
    """An error of a library as one line: its kind and all that it says, shortened in the middle.

    The first line of such an error is often a heading, and the cause stands below it.
    """
    said = clean(" ".join(hide(str(error)).split()))
    said = said if len(said) <= longest else f"{said[: longest * 2 // 3]} … {said[-longest // 3 :]}"
    return f"{type(error).__name__}: {said}"


def check_known(what: str, value: str, known: tuple[str, ...]) -> None:
    """Raise UserError, with the most similar known value, if `value` is not known; `what` is the option or field."""
    if value not in known:
        raise UserError(f"{what} {value!r}: unknown; {nearest(value, known)}")


def nearest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Say what is known beside `name`, the most similar entry first: for the end of an error line."""
    return f"{did_you_mean(name, known)}known: {', '.join(sorted(known)) or 'none'}"


def did_you_mean(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """Ask whether the most similar entry is meant, with a space after it; empty if none is similar."""
    import difflib

    # Of long names the comparison takes minutes, and nobody mistypes one.
    known = [other for other in known if len(other) <= LONGEST] if len(name) <= LONGEST else []
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}? " if close else ""


class StageFailed(Exception):
    """A stage failed for a reason that is not the user's; the message says how, with a traceback where there is one."""
