"""Time of several trainings at once on one device, compared with the same trainings one after another.

    python -m perf.at_once zoo:large --at-once 2
    python -m perf.at_once PATH.gguf --device cuda --dtype bfloat16 --autocast bfloat16

This is what `per_gpu` of a containers' settings file asks for, without containers: every training has a process and a
copy of the model of its own. The processes load the model before anything is timed, so start-up is not in the ratios.
"""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from perf.ratios import Timed, arguments, run, show, timed
from perf.training import prepared, train, with_training

SERIAL = "one after another"
READY, DONE = "ready:", "done:"  # lines of a training process; the first gives the tokens of a training


class TrainingProcess:
    """A process that has loaded the model and trains when asked to."""

    def __init__(self, command: Sequence[str], threads: int) -> None:
        variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | variables
        )

    def start(self, trainings: int) -> None:
        """Ask for trainings, one after another; they run while this process goes on."""
        assert self.process.stdin
        self.process.stdin.write(f"{trainings}\n")
        self.process.stdin.flush()

    def wait_for(self, answer: str) -> str:
        """The rest of the next line that begins with `answer`. Raises SystemExit if the process ends before."""
        assert self.process.stdout
        for line in self.process.stdout:  # libraries print lines as well
            if line.startswith(answer):
                return line.removeprefix(answer).strip()
        raise SystemExit(f"a training process ended with exit code {self.process.wait()}; its error is above")


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = with_training(arguments(str(__doc__), rounds=3))
    parser.add_argument("--at-once", type=int, nargs="+", default=[2, 4], help="numbers of trainings at once")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = sys.argv[1:] if given is None else given
    options = parser.parse_args(given)
    if min(options.at_once) < 1:
        parser.error("--at-once: expected numbers above 0")
    if options.serve:
        return _serve(options)
    with _trainers([sys.executable, "-m", "perf.at_once", *given, "--serve"], options) as trainers:
        show([compare(trainers, options)], options)
    return 0


def compare(trainers: Sequence[TrainingProcess], options: argparse.Namespace) -> Timed:
    """Time the trainings one after another in one process, and shared out among several."""
    tokens = [int(trainer.wait_for(READY)) for trainer in trainers]
    trainings = math.lcm(*options.at_once)
    ways: dict[str, Callable[[], object]] = {SERIAL: partial(_train, trainers[:1], trainings)}
    for number in options.at_once:
        ways[f"{number} at once"] = partial(_train, trainers[:number], trainings)
    question = f"{trainings} trainings of {options.steps} steps of {options.batch} texts"
    return timed(question, ways, SERIAL, options.rounds, (trainings * tokens[0], "tokens"))


def _train(trainers: Sequence[TrainingProcess], trainings: int) -> None:
    """Do the trainings, an equal share in each process, and wait for all of them."""
    for trainer in trainers:
        trainer.start(trainings // len(trainers))
    for trainer in trainers:
        trainer.wait_for(DONE)


@contextmanager
def _trainers(command: Sequence[str], options: argparse.Namespace) -> Iterator[list[TrainingProcess]]:
    trainers: list[TrainingProcess] = []
    try:
        for _ in range(max(options.at_once)):
            trainers.append(TrainingProcess(command, options.threads))
        yield trainers
    finally:
        for trainer in trainers:
            trainer.process.kill()  # they have nothing to save
            trainer.process.communicate()


def _serve(options: argparse.Namespace) -> int:
    """Load the model, then do as many trainings as each line of stdin asks for."""
    from benchmark.training.adaptation import trainable

    base, _, _, sequences, recipe, spec = prepared(options)
    model = trainable(base, recipe, spec)
    print(READY, sum(map(len, sequences)), flush=True)
    with TemporaryDirectory() as scratch:
        for line in sys.stdin:
            for _ in range(int(line)):
                train(model, sequences, recipe, options, Path(scratch))
            if options.device == "cuda":
                import torch

                torch.cuda.synchronize()
            print(DONE, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
