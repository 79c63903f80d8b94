"""The progress of stages on a Ray cluster: an actor that collects it, and the reader on the side of the run."""

import json
import time
from typing import Any, NamedTuple

from benchmark.store.artifacts import StageCall

NEWS = 1.0  # seconds between two requests for the progress of stages


class ProgressBoard:
    """An actor that keeps the latest progress of each stage until the run asks for it."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[str, tuple[int, ...]]] = {}

    def put(self, key: str, node: str, *steps: int) -> None:
        """Keep a stage's progress: its node, then steps done, steps in all and tokens read; no steps as it starts."""
        self._latest[key] = (node, steps)

    def take(self) -> str:
        """The progress since the last call, as JSON: key → [node, steps]."""
        latest, self._latest = self._latest, {}
        return json.dumps(latest)


class News(NamedTuple):
    """The progress of a stage. `node` is empty except in the first news of an attempt; `steps` as for a `Progress`."""

    key: str
    node: str
    steps: list[int]


class ProgressReader:
    """Reads the progress of stages from the actor. If the actor is lost, only progress is lost with it."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._heard: dict[str, tuple[float, str]] = {}  # stage → when and where its attempt was first heard of
        self._start()

    def _start(self) -> None:
        self._request, self._requested = None, 0.0
        self.board = self._ray.remote(num_cpus=0, max_restarts=-1)(ProgressBoard).remote()

    def news(self) -> list[News]:
        """The progress that has arrived since the last call; never waits."""
        from ray.exceptions import ActorDiedError

        latest: dict[str, tuple[str, list[int]]] = {}
        try:
            if self._request is None and time.monotonic() - self._requested >= NEWS:
                self._request, self._requested = self.board.take.remote(), time.monotonic()
            if self._request is not None and self._ray.wait([self._request], timeout=0)[0]:
                request, self._request = self._request, None
                latest = json.loads(self._ray.get(request))
        except ActorDiedError:
            self._start()  # a new actor, for the stages that start from now on
        except Exception:  # the actor is moving to another node
            self._request = None
        news = []
        for key, (node, steps) in latest.items():
            news.append(News(key, "" if key in self._heard else node, steps))
            self._heard.setdefault(key, (time.monotonic(), node))
        return news

    def forget(self, call: StageCall) -> None:
        """Forget the previous attempt at a stage."""
        self._heard.pop(call.key, None)

    def seconds(self, call: StageCall) -> float | None:
        """Seconds since the current attempt at a stage was first heard of; None if it was not."""
        heard = self._heard.get(call.key)
        return time.monotonic() - heard[0] if heard else None

    def node(self, call: StageCall) -> str:
        """Address of the node that the current attempt was heard of on; empty if it was not."""
        return self._heard.get(call.key, (0.0, ""))[1]
