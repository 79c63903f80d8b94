"""What is asked over a connection: the hub, by whose answer the clock is looked at as well, and a Docker Engine."""

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

_PATIENCE = 5.0  # seconds for an answer
_OFF = 300.0  # seconds by which a clock may be off: certificates are checked against it
_MOST_FILES = 10_000  # artifacts whose dates are looked at
_NETWORK = "only needed for models and data of the hub: see to the network or proxy, or set HF_HUB_OFFLINE=1"


@dataclass(frozen=True)
class Answer:
    """What came of asking the hub: its clock (seconds of the epoch) when this machine's was `at`, or why nothing."""

    failure: str = ""
    clock: float | None = None
    at: float = 0.0


class _Here(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: a token is for the hub alone."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def ask_hub() -> Answer | None:
    """Whether the hub answers; None if the environment says that it is not to be asked."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        headers = _ask("HEAD", constants.ENDPOINT, {})[1]
    except (OSError, ValueError) as error:  # ValueError: an address that is none
        return Answer(failure=f"{type(error).__name__}: {one_line(error)}")
    clock = None
    with suppress(ValueError, TypeError):
        clock = parsedate_to_datetime(headers["Date"]).timestamp()
    return Answer(clock=clock, at=time.time())


def _ask(method: str, address: str, headers: Mapping[str, str]) -> tuple[int, Message]:
    """The status and headers of an answer, whatever the status. Raises OSError or ValueError if there is none."""
    if not address.startswith(("https://", "http://")):
        raise ValueError("HF_ENDPOINT is no address of the web")
    request = urllib.request.Request(address, method=method, headers=dict(headers))
    try:
        with urllib.request.build_opener(_Here).open(request, timeout=_PATIENCE) as answer:
            return int(answer.status), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def hub(answer: Answer | None) -> Finding:
    """Whether models can be fetched, and the token that is there, which is never shown, is taken."""
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
        remedy = "make a new one at the hub, and set HF_TOKEN to it; or unset it: public models need none"
        return Finding("hub", f"answers, with a token that it refuses ({status})", False, remedy)
    words = "that it takes" if status == 200 else "that could not be tried"
    return Finding("hub", f"answers, with a token {words}")


def _status_of(token: str) -> int | None:
    """What the hub says to the token; None for nothing. An error might quote the token, and is not told."""
    from huggingface_hub import constants

    address = f"{constants.ENDPOINT}/api/whoami-v2"
    with suppress(OSError, ValueError):
        return _ask("GET", address, {"Authorization": f"Bearer {token}"})[0]
    return None


def clock(answer: Answer | None, results: Path) -> Finding:
    """This machine's clock against the hub's or, without that, the file system's and the newest artifact's date."""
    if answer is not None and answer.clock is not None:
        return _off(answer.at - answer.clock, "the hub's")
    behind = _newest(results / "store") - time.time()
    if behind > _OFF:
        return _off(-behind, "the date of the newest artifact")
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=nearest_folder(results), prefix=".doctor-") as file:
        return _off(time.time() - Path(file.name).stat().st_mtime, "the file system's (no other clock answers)")
    return Finding("clock", "no other clock answers")


def _off(seconds: float, other: str) -> Finding:
    remedy = "set it, or have it set: timedatectl set-ntp true; certificates and dates of records depend on it"
    words = f"{abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} {other}"
    return Finding("clock", words, abs(seconds) <= _OFF, remedy)


def _newest(store: Path) -> float:
    """When the newest artifact was written, in seconds of the epoch; 0 without any."""
    newest = 0.0
    for file in islice(store.glob("*/*/manifest.json"), _MOST_FILES):
        with suppress(OSError):
            newest = max(newest, file.stat().st_mtime)
    return newest


def ask_engine() -> dict[str, Any] | None:
    """What a Docker Engine says of itself; None if none answers."""
    import docker

    try:
        with closing(docker.from_env(timeout=5)) as client:
            return dict(client.info())
    except (docker.errors.DockerException, OSError):  # OSError: what its HTTP client raises when the answer stays out
        return None


def engine(told: Mapping[str, Any] | None) -> Finding:
    """Whether containers can be made, and whether there is room for images."""
    if told is None:
        remedy = "only needed for containers: start Docker, or use make instead"
        return Finding("docker", "no engine answers", False, remedy)
    found, root = f"engine {told.get('ServerVersion')}", Path(told.get("DockerRootDir") or "/nowhere")
    try:
        free = shutil.disk_usage(root).free / 2**30
    except OSError:  # it is another machine's, or not for everybody to see
        return Finding("docker", found)
    remedy = "make room for images: docker system prune"
    return Finding("docker", f"{found}, {free:.0f} GiB free in {root}", free > 10, remedy)
