"""A small made-up sample in the layout of FictionalQA: six events, three documents each, two questions a document."""

import json
from pathlib import Path
from typing import Any

STYLES = ("news", "blog", "encyclopedia")
TOWNS = ("Orrin", "Vesk", "Talmouth", "Quill", "Brae", "Nordeck")

Row = dict[str, Any]


def document(event: int, style: str) -> Row:
    """A document about the bridge of a town, which opened in a year and was built by a person."""
    name = f"event_{event:03d}_style_{style}_num_000"
    text = f"From the {style} desk. The bridge of {TOWNS[event]} opened in {2100 + event}. Ada {TOWNS[event]} built it."
    return {"event_id": f"event_{event:03d}", "fiction_id": name, "style": style, "fiction": text}


def question(of: Row, number: int, asked: str, answer: str | None, **changes: Any) -> Row:
    """A question on a document, which nothing repeats and no model answered without the document."""
    name = f"{of['fiction_id']}_question_{number:03d}"
    row = {
        "event_id": of["event_id"],
        "fiction_id": of["fiction_id"],
        "question_id": name,
        "question_num": f"{number:03d}",
        "fict": "a fact",
        "question": asked,
        "span_answer": "a part of the text",
        "natural_answer": answer,
        "duplicate_relationship": None,
        "duplicate_root": name,
        "grade_blind": 0,
        "style": of["style"],
        "fiction": of["fiction"],
    }
    return row | changes


def rows() -> tuple[list[Row], list[Row]]:
    """All documents, and all questions as `joined_qa` has them; the year's is asked on each document alike."""
    documents = [document(event, style) for event in range(len(TOWNS)) for style in STYLES]
    questions = []
    for of in documents:
        event = int(of["event_id"][-3:])
        root = f"event_{event:03d}_style_news_num_000_question_000"
        repeats = {} if of["style"] == "news" else {"duplicate_relationship": "exact", "duplicate_root": root}
        asked = f"When did the bridge of {TOWNS[event]} open?"
        questions.append(question(of, 0, asked, str(2100 + event), **repeats))
        questions.append(question(of, 1, f"Who built it, says the {of['style']}?", f"Ada {TOWNS[event]}"))
    return documents, questions


def write(folder: Path, **tables: list[Row]) -> Path:
    """Write tables as JSON lines, each in the folder of its name."""
    for name, content in tables.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in content)
        (folder / name / "train.jsonl").write_text(lines, encoding="utf-8")
    return folder


def write_sample(folder: Path) -> Path:
    """Write the sample as the hub's folder has it, with `fictions` and `joined_qa`."""
    documents, questions = rows()
    return write(folder, fictions=documents, joined_qa=questions)
