"""How to read the board: the explanations of its columns, and what holds for all of them."""

from leaderboard.stats.intervals import DRAWS
from leaderboard.views.columns import COLUMNS

INTRODUCTION = """\
Every number is of the **test half** of the people or paragraphs; the development half serves to choose parameters. The
rows of a table have the same data, questions, trained model, budget, recipe and evaluation. A row is a method."""

# A term and its explanation, in which `code` stands in backticks.
GENERAL = (
    (
        "References",
        "`untouched` is the model before training, `open_book` is the same model with the document in the prompt, "
        "which shows what is possible for a model that can read answers off its prompt. They have no rank.",
    ),
    (
        "Intervals",
        f"are 95% intervals from {DRAWS:,} bootstrap draws. A draw resamples seeds and subjects (people or "
        "paragraphs), each as a whole; Student's t widens the interval for small numbers of them. With one seed, "
        "intervals and tests cover subjects only and say nothing about other seeds. If all answers are wrong (or all "
        "right), the interval is the exact bound for that many subjects. `docs/statistics.md` has the formulas and "
        "the measured coverage.",
    ),
    (
        "Nothing was recalled",
        "stands below a table in which no row's exact match is above that of `untouched` (above 0, where a table has "
        "no such reference) with its whole interval and significantly, by Fisher's exact test with Holm's correction. "
        "No row of it is called best.",
    ),
    (
        "Best of n",
        "marks a method for which a suite tries several values of a parameter. The row is the value with the highest "
        "exact match on the development half (the mean over seeds and fields), with its results on the test half. "
        "Confirmed rows have other seeds than those that the value was chosen with.",
    ),
)


def notes() -> list[tuple[str, str]]:
    """Terms with their explanations, those of the columns first."""
    return [*((column.heading, column.explanation) for column in COLUMNS if column.explanation), *GENERAL]


def markdown_notes() -> str:
    """The introduction and the notes as Markdown."""
    bullets = [f"- **{term}**: {explanation}" for term, explanation in notes()]
    return "\n".join(
        [
            INTRODUCTION,
            "",
            *bullets,
            "- **Bold** marks the highest exact match of a table in which something was recalled.",
            "",
        ]
    )
