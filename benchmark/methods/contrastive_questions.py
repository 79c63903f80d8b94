"""Contrastive questions: fill-in questions on what a large model attends to more than a small one."""

import math
import random
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from benchmark.core.validation import not_a_bool
from benchmark.data.texts import Text, TokenScores, questions_as_text
from benchmark.methods.base import Beta, Method, Needs
from benchmark.methods.dropout import ranks
from benchmark.methods.function_words import FUNCTION_WORDS
from benchmark.methods.sentence_shuffle import sentences
from benchmark.methods.units import units, word_units
from benchmark.methods.words import Span, overlaps, words

BLANK = "____"
# A name or date reaches over such words between its parts: "University of Mexico City", "March 20, 1992".
_BETWEEN = re.compile(r",? (?:(?:of|the|de|la|du|van|von) ){0,2}")


class ContrastiveQuestions(Method):
    """Copies are fill-in questions whose answers are the elusive clues (ours, from no paper).

    A question is a sentence of the text in which a name, a number or a word is left out, and its answer is what was
    left out. The word of rank r by the large minus the small model's scores (Gao et al., AAAI 2025) is asked about with
    a weight of exp(−βr); a name or date is asked about as a whole. A sentence that does not name the subject begins
    with it, or else with the first sentence of the text. No writer is needed, and the task's questions are not seen.

    Fields: `questions`, the number of questions in a copy; `beta`; `by`, "difference", or "random" for random ranks,
    the control that tells what the contrast adds.
    """

    name: ClassVar[str] = "contrastive_questions"
    needs: ClassVar[Literal["difference"]] = "difference"
    welcome: ClassVar[frozenset[str]] = frozenset({"subject"})
    version: ClassVar[int] = 2  # version 1 joined a number, a comma and the name after it

    questions: Annotated[int, BeforeValidator(not_a_bool), Field(ge=1, le=100)] = 5
    beta: Beta = 0.1
    by: Literal["difference", "random"] = "difference"

    @property
    def reads(self) -> Needs:
        """The difference of the pair's scores, or tokens alone for random ranks."""
        return "difference" if self.by == "difference" else "tokens"

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Questions on clues that `rng` draws; the text itself where it has no word."""
        if tokens is None:
            raise ValueError(f"{self.name} needs the tokens of text {text.id!r}")
        clues = self._clues(text, tokens)
        # An exponential variable over exp(−βr), as logarithms: exp(−βr) is 0 for the last words of a long text.
        drawn = sorted(clues, key=lambda clue: _log_exponential(rng) + self.beta * clue[1])[: self.questions]
        pairs = [_question(text, span) for span, _ in drawn]
        return questions_as_text(pairs) or text.text

    def _clues(self, text: Text, tokens: TokenScores) -> list[tuple[Span, int]]:
        """What can be asked about, with the best rank of its words."""
        scored = word_units(text, units(text, tokens))
        scores = [unit.score for unit in scored]
        if self.by == "random":
            random.Random(f"ranks:{text.id}:{text.text}").shuffle(scores := [float(n) for n in range(len(scored))])
        best: dict[Span, int] = {}
        spans = names_and_words(text)
        for unit, rank in zip(scored, ranks(scores), strict=True):
            for span in spans:
                if overlaps((unit.start, unit.end), [span]):
                    best[span] = min(best.get(span, rank), rank)
        return sorted(best.items())


def names_and_words(text: Text) -> list[Span]:
    """[start, end) offsets of names, dates and numbers as wholes, and of other words that carry meaning, in text order.

    Prepositions, pronouns and the like are left out. Words belong together if each begins with a capital letter or a
    digit and only ", ", "of", "the" and the like stand between them. A comma after a number ends a name, unless another
    number follows, and the subject's name is never joined with other words: "On August 8, 1906, Pam Low was born."
    """
    subject = [match.span() for match in re.finditer(re.escape(text.subject), text.text)] if text.subject else []
    groups: list[Span] = []
    names: list[bool] = []
    for sentence in sentences(text):
        last = None  # the number of the sentence's last name
        for number, (start, end) in enumerate(words(text.text, *sentence)):
            is_capital = text.text[start].isupper() or text.text[start].isdigit()
            is_name = is_capital and not (number == 0 and text.text[start:end].lower() in FUNCTION_WORDS)
            if last is not None and is_name and _belong_together(text.text, groups[last], (start, end), subject):
                del groups[last + 1 :], names[last + 1 :]
                groups[last] = (groups[last][0], end)
                continue
            groups.append((start, end))
            names.append(is_name)
            last = len(groups) - 1 if is_name else last
    return [
        (start, end)
        for (start, end), is_name in zip(groups, names, strict=True)
        if is_name or text.text[start:end].lower() not in FUNCTION_WORDS
    ]


def _belong_together(text: str, name: Span, word: Span, subject: Sequence[Span]) -> bool:
    """Whether a word that begins with a capital letter or a digit goes on with a name or date before it."""
    between = text[name[1] : word[0]]
    if not _BETWEEN.fullmatch(between) or overlaps(name, subject) != overlaps(word, subject):
        return False
    return not (between.startswith(",") and text[name[1] - 1].isdigit() and not text[word[0]].isdigit())


def _log_exponential(rng: random.Random) -> float:
    """The logarithm of an exponentially distributed variable."""
    drawn = rng.random()
    return math.log(-math.log(1 - drawn)) if drawn else -math.inf


def _question(text: Text, span: Span) -> tuple[str, str]:
    """The sentence with a blank in place of the span, and the answer."""
    spans = sentences(text)
    number = next(n for n, (start, end) in enumerate(spans) if start <= span[0] < end)
    start, end = spans[number]
    question = f"{text.text[start : span[0]]}{BLANK}{text.text[span[1] : end]}"
    if text.subject and text.subject in text.text[start:end]:
        return question, text.text[slice(*span)]
    if text.subject:
        return f"{text.subject}: {question}", text.text[slice(*span)]
    return (question if number == 0 else f"{text.text[slice(*spans[0])]} {question}"), text.text[slice(*span)]
