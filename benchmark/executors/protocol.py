"""The interface of all executors: a job to do, and one method that does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall, Store


@dataclass(frozen=True)
class Job:
    """Stages whose artifacts are missing.

    Attributes:
        store: Where the artifacts belong.
        calls: The stages, each listed once and after the stages that it reads.
        threads: Threads that each stage computes with.
    """

    store: Store
    calls: Sequence[StageCall]
    threads: int = 1


class Executor(Protocol):
    """Makes artifacts: in processes of this machine, in containers, or on a cluster."""

    def run(self, job: Job, events: Events) -> None:
        """Make every artifact of a job.

        Each stage starts as soon as the artifacts that it reads are in the store. Events are reported in the calling
        thread.

        Raises:
            UserError: The user can mend it: a setting, a model, a file, or too little memory.
            StageFailed: A stage failed for another reason.
            Stopped: A signal asked the command to end.

        After any of them no stage of the job is running; finished artifacts stay.
        """
        ...
