"""Paraphrase the biographies by templates, as copies for the method `texts`.

    python -m scripts.retell --out results/retold.jsonl

Each copy of a person states the facts in another order and in wordings that the biographies do not use. Such copies are
known to help a model remember facts most (Allen-Zhu and Li, Physics of Language Models 3.1). They are an upper bound
rather than a competing method, since the templates know the facts and not only the text.
"""

import argparse
import random
import sys
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.files import replacing
from benchmark.data.people import FIELDS, WORDINGS, Person, write_paragraph
from benchmark.data.texts import AugmentedText, json_lines, write_lines
from benchmark.tasks.biography import biography


def paraphrases(people: Path, copies: int) -> list[AugmentedText]:
    """Make `copies` paraphrases of each person in a file with the layout of the biography task's `people.jsonl`."""
    rows = []
    for _, line in json_lines(people):
        person = Person(line["id"], line["name"], line["pronoun"], line["facts"])
        for copy in range(1, copies + 1):
            rng = random.Random(f"retell:{person.id}:{copy}")
            wording = {field: rng.randrange(1, len(WORDINGS[field])) for field in FIELDS}
            rows.append(
                AugmentedText(person.id, copy, write_paragraph(person, rng.sample(FIELDS, len(FIELDS)), wording).text)
            )
    return rows


def main() -> None:
    """Write the file that --out names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines to write")
    parser.add_argument(
        "--people", type=Path, default=biography.PEOPLE, help="file of people (default: the shipped people)"
    )
    parser.add_argument("--copies", type=int, default=10, help="paraphrases of each person")
    given = parser.parse_args()
    try:
        rows = paraphrases(given.people, given.copies)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(given.out) as temporary:
            write_lines(temporary, rows)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(f"{given.out}: {len(rows)} texts")


if __name__ == "__main__":
    main()
