"""Full name: pronouns are replaced by the full name of the text's subject."""

import random
import re
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method
from benchmark.methods.function_words import CONJUNCTIONS, PREPOSITIONS
from benchmark.methods.words import overlaps

_PRONOUN = re.compile(r"(?<![\w-])(?:[Hh]e|[Ss]he|[Hh]im|[Hh]is|[Hh]ers?)(?![\w-])")
_NEXT_WORD = re.compile(r"\s+(\w+)")
# No noun phrase after "her" begins with one of these words.
_NO_NOUN = PREPOSITIONS | CONJUNCTIONS | frozenset("a an the that this these those and again there here".split())


class FullName(Method):
    """Pronouns become the full name: `fullname` of Physics of Language Models 3.1 (Allen-Zhu & Li, ICML 2024).

    "he", "she" and "him" become the name, "his" and "hers" the name with 's. "her" counts as a possessive if the next
    word follows without punctuation and is not a preposition, conjunction, article or the like ("her mother"); else it
    counts as an object ("met her in Lagos", "met her."). Reflexives and pronouns within an entity stay.

    It is for English texts about one person: every such pronoun is taken to mean the subject. All copies of a text are
    the same.
    """

    name: ClassVar[str] = "full_name"
    details: ClassVar[frozenset[str]] = frozenset({"subject"})
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    @property
    def varies(self) -> bool:
        """False: nothing is random."""
        return False

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Replace pronouns by the name in `text.subject`."""

        def name_for(match: re.Match[str]) -> str:
            pronoun = match.group()
            if overlaps(match.span(), text.entities):
                return pronoun
            name = text.subject[0].upper() + text.subject[1:] if pronoun[0].isupper() else text.subject
            if pronoun.lower() == "her":
                next_word = _NEXT_WORD.match(text.text, match.end())
                return f"{name}'s" if next_word and next_word.group(1).lower() not in _NO_NOUN else name
            return f"{name}'s" if pronoun.lower() in ("his", "hers") else name

        return _PRONOUN.sub(name_for, text.text)
