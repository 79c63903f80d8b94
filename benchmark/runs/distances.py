"""Distances between a subject's name and the answers, for records made before records held them."""

from benchmark.records.record import Record
from benchmark.runs.recording import distances
from benchmark.suite.schema import Suite


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
