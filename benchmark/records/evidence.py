"""What the records of a finished suite say about one trained model: the evidence that its model card quotes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Score:
    """A score on the test half.

    Attributes:
        label: What was measured, such as "exact match, 0 shots".
        of_seed: The adopted model's own score; None if unknown.
        mean: The mean over the seeds of its method.
        low: Lower end of the 95% interval of the mean.
        high: Upper end of the interval.
        untouched: The score of the model before training; None if it was not measured.
    """

    label: str
    of_seed: float | None
    mean: float
    low: float
    high: float
    untouched: float | None


@dataclass(frozen=True)
class Evidence:
    """How a model was chosen, and what was measured.

    Attributes:
        label: The method as the board shows it.
        seed: The seed of the adopted model.
        record: The record of the adopted model.
        shots: The number of examples of the headline.
        development: Exact match and cloze on the development half by method, means over seeds; the best first.
        seeds: Exact match on the development half of each seed of the method.
        asked: The method was asked for by name, not chosen as the best.
        questions: Questions of the test half.
        scores: The scores on the test half, the headline first.
        recalled: Whether a method of the board recalled anything (docs/board.md).
        summary: The board's sentences on the table.
    """

    label: str
    seed: int
    record: Path
    shots: int
    development: dict[str, tuple[float, float | None]]
    seeds: dict[int, float]
    asked: bool
    questions: int
    scores: tuple[Score, ...]
    recalled: bool
    summary: str

    @property
    def choice(self) -> str:
        """A sentence that says why this method and this seed."""
        rows, seeds = len(self.development), len(self.seeds)
        exact_match, cloze = self.development[self.label]
        score = f"exact match {exact_match:.3f}"
        if cloze is not None and [others for others, _ in self.development.values()].count(exact_match) > 1:
            score += f", as others; cloze {cloze:.3f}"
        if self.asked:
            sentence = f"the method that was asked for ({score} on the development half)"
        elif rows == 1:
            sentence = f"the only method ({score} on the development half)"
        else:
            sentence = f"of {rows} methods the best on the development half ({score})"
        return sentence + (f"; of its {seeds} seeds the best there ({self.seeds[self.seed]:.3f})" if seeds > 1 else "")
