"""How many of the facts that texts mark a method's copies keep, as one line to print."""

from collections.abc import Mapping, Sequence

from benchmark.corpora.base import Facts
from benchmark.data.texts import AugmentedText, Text
from benchmark.models.loading import tokenizer_of
from benchmark.models.spec import named_spec
from benchmark.stages.facts import count_facts, invented_share
from benchmark.writing.write import Report


def kept_facts_line(texts: Sequence[Text], made: Sequence[AugmentedText], model: str | None) -> str:
    """What the copies keep: their length, and the share of facts that stay whole.

    Args:
        texts: The originals. Their facts are the values that "entities" mark, except the subject.
        made: The training texts that a method made of them.
        model: Model whose tokens measure the length; without one words do.
    """
    copies = [text for text in made if text.copy > 0]
    if not copies:
        return "no copies: this method changes no text"
    tokenizer = tokenizer_of(named_spec(model)) if model else _words
    counts = count_facts(texts, copies, {text.id: _marked_facts(text) for text in texts}, tokenizer)
    parts = [f"{counts['copies']} copies, {'tokens' if model else 'words'} {counts['tokens']:+.1%}"]
    if counts["facts"]:
        parts.append(f"{counts['answer']:.1%} of {counts['facts']} facts whole")
    else:
        parts.append('no facts counted: no text has "entities"')
    if counts["answer_and_name"] is not None:
        parts.append(f"{counts['answer_and_name']:.1%} whole beside the subject's name")
    return "; ".join(parts)


def written_lines(texts: Sequence[Text], made: Sequence[AugmentedText], report: Report) -> list[str]:
    """What a writer invented, left out and cost, as lines to print.

    Args:
        texts: The originals.
        made: The training texts that a method made of them.
        report: What was drawn and left out.
    """
    invented = invented_share(texts, [text for text in made if text.copy > 0])
    share = "no names or numbers in the copies" if invented is None else f"{invented:.1%} of names and numbers invented"
    return [
        f"{share}; {report.texts} texts of {report.samples} answers",
        f"texts left out: {by_problem(report.left_out)}; answers drawn again: {by_problem(report.drawn_again)}",
        f"tokens of the writer: {report.prompt_tokens:,} in, {report.tokens:,} out",
    ]


def by_problem(counts: Mapping[str, int]) -> str:
    """Counts as a phrase, such as "cut 1, refused 2"; "none" without any."""
    return ", ".join(f"{problem} {count}" for problem, count in sorted(counts.items())) or "none"


def _marked_facts(text: Text) -> Facts:
    values = (text.text[start:end] for start, end in text.entities)
    return Facts(text.subject, [[value] for value in values if value != text.subject])


def _words(texts: list[str], **_: object) -> dict[str, list[list[str]]]:
    """Stands in for a tokenizer: a token is a word."""
    return {"input_ids": [text.split() for text in texts]}
