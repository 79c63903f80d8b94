"""The subject's full name in the place of pronouns."""

import random
import re
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method
from benchmark.methods.function_words import CONJUNCTIONS, PREPOSITIONS
from benchmark.methods.words import overlaps

_PRONOUN = re.compile(r"(?<![\w-])(?:[Hh]e|[Ss]he|[Hh]im|[Hh]is|[Hh]ers?)(?![\w-])")
_NEXT_WORD = re.compile(r"\s+(\w+)")
# A noun phrase after "her" begins with none of these.
_NO_NOUN = PREPOSITIONS | CONJUNCTIONS | frozenset("a an the that this these those and again there here".split())


class FullName(Method):
    """Pronouns become the full name: `fullname` of Physics of Language Models 3.1 (Allen-Zhu & Li, ICML 2024).

    "he", "she" and "him" become the name; "his" and "hers" the name with 's. "her" is taken for a possessive if a word
    follows with nothing but white space between, other than a preposition, conjunction, article or the like ("her
    mother"); else for an object ("met her in Lagos", "met her."). Reflexives and pronouns in an entity stay.

    English only, and every such pronoun is taken to mean the subject: it is for texts about one person. The copies of a
    text are all the same.
    """

    name: ClassVar[str] = "full_name"
    details: ClassVar[frozenset[str]] = frozenset({"subject"})
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    @property
    def varies(self) -> bool:
        """No."""
        return False

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Put the name of `text.subject` in."""

        def name_for(found: re.Match[str]) -> str:
            pronoun = found.group()
            if overlaps(found.span(), text.entities):
                return pronoun
            name = text.subject[0].upper() + text.subject[1:] if pronoun[0].isupper() else text.subject
            if pronoun.lower() == "her":
                after = _NEXT_WORD.match(text.text, found.end())
                return f"{name}'s" if after and after.group(1).lower() not in _NO_NOUN else name
            return f"{name}'s" if pronoun.lower() in ("his", "hers") else name

        return _PRONOUN.sub(name_for, text.text)
