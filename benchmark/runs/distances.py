"""Distances between the subject's name and the answer in the texts of a corpus."""

import itertools
from bisect import bisect_right
from functools import lru_cache

from benchmark.corpora import Corpus
from benchmark.models.spec import ModelSpec
from benchmark.records.record import Record
from benchmark.suite.schema import Suite

TEXTS_AT_ONCE = 1000  # texts that are tokenized together


def distances(corpus: Corpus, spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """The distance from the end of the subject's name to the answer, by question: in characters and in tokens."""
    return _distances(corpus, spec.model, spec.revision, spec.trust_remote_code)


@lru_cache(maxsize=4)  # a suite's cells share a few corpora and tokenizers
def _distances(corpus: Corpus, model: str, revision: str | None, trust_remote_code: bool) -> dict[str, tuple[int, int]]:
    from benchmark.models.loading import load_tokenizer

    tokenizer = load_tokenizer(model, revision, trust_remote_code)
    texts = {text.id: text.text for text in corpus.texts}
    questions: dict[str, list[tuple[str, int, int]]] = {}
    for question, (name, subject, answer) in corpus.gaps.items():
        questions.setdefault(name, []).append((question, subject, answer))
    counted: dict[str, tuple[int, int]] = {}
    names = iter(questions)
    while batch := list(itertools.islice(names, TEXTS_AT_ONCE)):
        encoded = tokenizer([texts[name] for name in batch], return_offsets_mapping=True, add_special_tokens=False)
        for name, offsets in zip(batch, encoded["offset_mapping"], strict=True):
            ends = sorted(end for _, end in offsets)
            for question, subject, answer in questions[name]:
                tokens = bisect_right(ends, answer) - bisect_right(ends, subject)
                counted[question] = (answer - subject, tokens)
    return counted


def distances_of_record(record: Record, suite: Suite) -> dict[str, int] | None:
    """Tokens from the subject's name to the answer, by question, as a run of the suite would record them today.

    None if the suite no longer has the record's corpus and model, or if the corpus has no distances.
    """
    spec = suite.models.get(record.model.name)
    if spec is None or spec.fingerprint() != record.model.fingerprint:
        return None
    for task in suite.tasks:
        corpus = task.load()
        if (task.name, corpus.data_hash) == (record.task.name, record.task.corpus_hash) and corpus.gaps:
            return {question: tokens for question, (_, tokens) in distances(corpus, spec).items()}
    return None
