"""How long the missing stages of a plan take, predicted from what was tried on this machine (`runs/trying.py`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.store.artifacts import StageCall


@dataclass(frozen=True)
class Part:
    """Equal pieces of work: the name of one, as "step", its seconds, and how many there are."""

    unit: str
    seconds: float
    count: int


@dataclass(frozen=True)
class StageEstimate:
    """The predicted time of a stage.

    Attributes:
        call: The stage.
        model: Name of its model.
        parts: Its work, by what was measured.
        besides: Seconds of all else, as loading and saving the model.
    """

    call: StageCall
    model: str
    parts: Sequence[Part]
    besides: float

    @property
    def seconds(self) -> float:
        """Seconds of the stage."""
        return self.besides + sum(part.seconds * part.count for part in self.parts)

    @property
    def words(self) -> str:
        """The parts of the prediction, as "1.7 s a step × 400 + 4 s besides"."""
        parts = [f"{_short(part.seconds)} s a {part.unit} × {part.count:,}" for part in self.parts]
        return " + ".join([*parts, f"{_short(self.besides)} s besides"])

    def as_dict(self) -> dict[str, Any]:
        """All values, for JSON."""
        return {
            "stage": self.call.stage,
            "key": self.call.key,
            "model": self.model,
            "parts": [asdict(part) for part in self.parts],
            "besides": self.besides,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class TimeEstimate:
    """The predicted time of a run.

    Attributes:
        missing: The stages that are missing, sources before what reads them.
        tried: Those of them whose work was tried.
        measured: Mean seconds of stages done before, by kind: for the stages that were not tried.
        workers: Stages at once.
    """

    missing: Sequence[StageCall]
    tried: Sequence[StageEstimate]
    measured: Mapping[str, float]
    workers: int

    @property
    def not_known(self) -> dict[str, int]:
        """Number of missing stages of unknown duration, by kind; the sums leave them out."""
        known = self._seconds
        return dict(Counter(call.stage for call in self.missing if call.key not in known))

    @property
    def worker_seconds(self) -> float:
        """Seconds that one worker needs for all stages whose time is known."""
        return sum(self._seconds.values())

    @property
    def seconds(self) -> float:
        """Seconds of the run: the work shared by the workers, but at least the longest chain of stages."""
        known, ends = self._seconds, dict[str, float]()
        for call in self.missing:
            ready = max((ends.get(source.key, 0.0) for source in call.inputs.values()), default=0.0)
            ends[call.key] = ready + known.get(call.key, 0.0)
        return max([self.worker_seconds / self.workers, *ends.values()])

    def lines(self, stage: str) -> list[str]:
        """What was tried for a kind of stage: a line for all stages whose predictions are equal."""
        alike = Counter((tried.model, tried.words) for tried in self.tried if tried.call.stage == stage)
        return [f"tried: {count} × ({words}), {model}" for (model, words), count in alike.items()]

    def predicted(self, stage: str) -> float | None:
        """Seconds of all missing stages of a kind; None if the time of any of them is unknown."""
        keys = [call.key for call in self.missing if call.stage == stage]
        known = self._seconds
        return sum(known[key] for key in keys) if all(key in known for key in keys) else None

    def as_dict(self) -> dict[str, Any]:
        """All values, for JSON."""
        return {
            "stages": [tried.as_dict() for tried in self.tried],
            "not_known": self.not_known,
            "workers": self.workers,
            "worker_seconds": self.worker_seconds,
            "seconds": self.seconds,
        }

    @property
    def _seconds(self) -> dict[str, float]:
        """Seconds of each stage whose time is known, by key."""
        means = {call.key: self.measured[call.stage] for call in self.missing if call.stage in self.measured}
        return {**means, **{tried.call.key: tried.seconds for tried in self.tried}}


def _short(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"
