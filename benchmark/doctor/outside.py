"""Checks over a connection: the Hugging Face hub, the clock (compared with the hub's) and Docker."""

import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any

from benchmark.core.errors import one_line
from benchmark.doctor.finding import Finding
from benchmark.doctor.machine import nearest_folder

_TIMEOUT = 5.0  # seconds for an answer
_MOST_OFF = 300.0  # seconds; a clock that is off by more fails the check of certificates
_MOST_FILES = 10_000  # artifacts whose dates are read
_NETWORK = "only needed for models and data of the hub: repair the network or proxy, or set HF_HUB_OFFLINE=1"


@dataclass(frozen=True)
class Answer:
    """The hub's answer: its clock (seconds of the epoch) when this machine's showed `at`, or the failure."""

    failure: str = ""
    clock: float | None = None
    at: float = 0.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, so that the token goes to the hub only."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def ask_hub() -> Answer | None:
    """Ask the hub for its date; None in offline mode (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        headers = _ask("HEAD", constants.ENDPOINT, {})[1]
    except (OSError, ValueError) as error:  # ValueError: not an address
        return Answer(failure=f"{type(error).__name__}: {one_line(error)}")
    clock = None
    with suppress(ValueError, TypeError):
        clock = parsedate_to_datetime(headers["Date"]).timestamp()
    return Answer(clock=clock, at=time.time())


def _ask(method: str, address: str, headers: Mapping[str, str]) -> tuple[int, Message]:
    """The status and headers of an answer, whatever the status. Raises OSError or ValueError without an answer."""
    if not address.startswith(("https://", "http://")):
        raise ValueError("HF_ENDPOINT is not a web address")
    request = urllib.request.Request(address, method=method, headers=dict(headers))
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_TIMEOUT) as answer:
            return int(answer.status), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def hub_answers(answer: Answer | None) -> Finding:
    """Whether the hub answers and accepts the token. The token is never shown."""
    from huggingface_hub import get_token

    if answer is None:
        return Finding("hub", "HF_HUB_OFFLINE is set: only cached hub models can be used")
    token = get_token()
    if answer.failure:
        words = "with a token" if token else "without a token"
        return Finding("hub", f"does not answer ({answer.failure}), {words}", False, _NETWORK)
    if not token:
        return Finding("hub", "answers, without a token (gated models need HF_TOKEN)")
    status = _status_of(token)
    if status in (401, 403):
        remedy = "make a new token at the hub and set HF_TOKEN to it, or unset HF_TOKEN: public models need none"
        return Finding("hub", f"answers, with a token that it rejects ({status})", False, remedy)
    words = "that it accepts" if status == 200 else "that could not be checked"
    return Finding("hub", f"answers, with a token {words}")


def _status_of(token: str) -> int | None:
    """The hub's status for the token; None without an answer. Errors are not shown, since they may quote the token."""
    from huggingface_hub import constants

    address = f"{constants.ENDPOINT}/api/whoami-v2"
    with suppress(OSError, ValueError):
        return _ask("GET", address, {"Authorization": f"Bearer {token}"})[0]
    return None


def clock_is_right(answer: Answer | None, results: Path) -> Finding:
    """Compare this machine's clock with the hub's or, without it, with the newest artifact and the file system."""
    if answer is not None and answer.clock is not None:
        return _clock_off(answer.at - answer.clock, "the hub's")
    behind = _newest(results / "store") - time.time()
    if behind > _MOST_OFF:
        return _clock_off(-behind, "the date of the newest artifact")
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=nearest_folder(results), prefix=".doctor-") as file:
        return _clock_off(time.time() - Path(file.name).stat().st_mtime, "the file system's (no other clock answers)")
    return Finding("clock", "no other clock answers")


def _clock_off(seconds: float, other: str) -> Finding:
    remedy = "set the clock (timedatectl set-ntp true); certificates and dates of records depend on it"
    words = f"{abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} {other}"
    return Finding("clock", words, abs(seconds) <= _MOST_OFF, remedy)


def _newest(store: Path) -> float:
    """When the newest artifact was written, in seconds of the epoch; 0 without artifacts."""
    newest = 0.0
    for file in islice(store.glob("*/*/manifest.json"), _MOST_FILES):
        with suppress(OSError):
            newest = max(newest, file.stat().st_mtime)
    return newest


def ask_engine() -> dict[str, Any] | None:
    """The information of a Docker Engine; None if none answers."""
    import docker

    try:
        with closing(docker.from_env(timeout=5)) as client:
            return dict(client.info())
    except (docker.errors.DockerException, OSError):  # OSError: raised by its HTTP client at a timeout
        return None


def docker_answers(engine: Mapping[str, Any] | None) -> Finding:
    """Whether a Docker Engine answers and has room for images; `engine` is its information, None without an answer."""
    if engine is None:
        remedy = "only needed for containers: start Docker, or use make instead"
        return Finding("docker", "no engine answers", False, remedy)
    found, root = f"engine {engine.get('ServerVersion')}", Path(engine.get("DockerRootDir") or "/nowhere")
    try:
        free = shutil.disk_usage(root).free / 2**30
    except OSError:  # the engine is on another machine, or the folder cannot be read
        return Finding("docker", found)
    remedy = "free space for images: docker system prune"
    return Finding("docker", f"{found}, {free:.0f} GiB free in {root}", free > 10, remedy)
