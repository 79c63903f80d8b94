"""The corpus task: every layout in every format, error messages, and the task under stock lm-eval."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.tasks.biography import biography
from benchmark.tasks.corpus import corpus

ROOT = Path(__file__).parents[2]

HARBOUR = "The harbour was dug in 1871, by “Ada Moss”.\nIt is deep."
ROCK = "Gull Rock has 212 steps, and a green door."
NOBODY = "Nobody asks, about this one."

Rows = list[dict[str, Any]]

# What every layout and format below has to come to.
EXPECTED: Rows = [
    {
        "id": "7",
        "text": HARBOUR,
        "half": "development",
        "questions": [
            {"question": "Who dug it?", "answers": ["Ada Moss", "Moss"]},
            {"question": "When, was it dug?", "answers": ["1871"]},
        ],
    },
    {"id": "rock", "text": ROCK, "half": "test", "questions": [{"question": "What colour?", "answers": ["green"]}]},
    {"id": "none", "text": NOBODY, "half": "development", "questions": []},
]

DOCUMENTS: Rows = [{"id": row["id"], "text": row["text"]} for row in EXPECTED]
NESTED: Rows = [{"id": row["id"], "text": row["text"], "questions": row["questions"]} for row in EXPECTED]
QUESTIONS: Rows = [{"document": row["id"], **asked} for row in EXPECTED for asked in row["questions"]]
FLAT: Rows = [
    {"id": row["id"], "text": row["text"], **asked}
    for row in EXPECTED
    for asked in row["questions"] or [{"question": None, "answers": None}]
]
FORMATS = ("jsonl", "csv", "parquet")


def write(path: Path, rows: Rows) -> Path:
    """Write rows in the format of the file's ending; in CSV, lists are JSON."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        text = io.StringIO(newline="")
        out = csv.DictWriter(text, list(rows[0]))
        out.writeheader()
        for row in rows:
            out.writerow({k: json.dumps(v, ensure_ascii=False) if isinstance(v, list) else v for k, v in row.items()})
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("ending", FORMATS)
def test_every_layout_in_every_format_gives_the_same_documents(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    documents = write(folder / f"documents.{ending}", DOCUMENTS)
    questions = write(folder / f"questions.{ending}", QUESTIONS)
    apart = write(tmp_path / f"elsewhere.{ending}", QUESTIONS)
    layouts = {
        "folder": corpus.read_corpus(folder),
        "two files": corpus.read_corpus(documents, apart),
        "two files of a folder": corpus.read_corpus(documents, questions),
        "nested": corpus.read_corpus(write(tmp_path / f"nested.{ending}", NESTED)),
        "flat": corpus.read_corpus(write(tmp_path / f"flat.{ending}", FLAT)),
    }
    for layout, read in layouts.items():
        assert read == EXPECTED, layout


def test_documents_and_questions_may_have_different_formats(tmp_path: Path) -> None:
    write(tmp_path / "documents.parquet", DOCUMENTS)
    write(tmp_path / "questions.csv", QUESTIONS)
    assert corpus.read_corpus(tmp_path) == EXPECTED


@pytest.mark.parametrize("ending", FORMATS)
def test_documents_without_ids_are_numbered_and_rows_with_the_same_text_are_a_single_document(
    tmp_path: Path, ending: str
) -> None:
    def bare(rows: Rows) -> Rows:
        return [{key: value for key, value in row.items() if key != "id"} for row in rows]

    numbered = [{**row, "id": f"doc-0000{number}"} for number, row in enumerate(EXPECTED)]
    for rows in (NESTED, FLAT):
        assert corpus.read_corpus(write(tmp_path / f"one.{ending}", bare(rows))) == numbered


@pytest.mark.parametrize("ending", FORMATS)
def test_columns_may_have_other_names_and_other_columns_are_ignored(tmp_path: Path, ending: str) -> None:
    names = {"id": "Nr", "text": "body", "document": "of", "question": "Q", "answers": "A", "half": "split"}
    halves = {"7": "test", "rock": "development", "none": "test"}
    documents = [{"Nr": row["id"], "body": row["text"], "split": halves[row["id"]], "page": 3} for row in DOCUMENTS]
    questions = [{"of": row["document"], "Q": row["question"], "A": row["answers"]} for row in QUESTIONS]
    read = corpus.read_corpus(
        write(tmp_path / f"d.{ending}", documents), write(tmp_path / f"q.{ending}", questions), names
    )
    assert read == [{**row, "half": halves[str(row["id"])]} for row in EXPECTED]


def test_a_single_answer_may_be_a_string_or_a_number_in_a_column_answer(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "text": "Dug in 1871.", "question": "When?", "answer": 1871},
        {"id": 2, "text": ROCK, "question": "What colour?", "answer": " green "},
    ]
    for ending in ("jsonl", "csv"):
        read = corpus.read_corpus(write(tmp_path / f"x.{ending}", rows))
        assert [row["id"] for row in read] == ["1", "2"]
        assert [row["questions"][0]["answers"] for row in read] == [["1871"], ["green"]]


def test_documents_with_questions_alternate_between_halves(tmp_path: Path) -> None:
    rows: Rows = []
    for number in range(6):
        asked = [{"question": f"What is {number}?", "answers": "it"}] if number % 2 == 0 else []
        rows.append({"text": f"it is {number}", "questions": asked})
    read = corpus.read_corpus(write(tmp_path / "x.jsonl", rows))
    assert [row["half"] for row in read if row["questions"]] == ["development", "test", "development"]


def test_a_csv_cell_may_exceed_the_limit_of_the_csv_module_which_stays_unchanged(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "word " * 40_000
    rows = [{**row, "text": row["text"] + long} for row in NESTED]
    assert corpus.read_corpus(write(tmp_path / "x.csv", rows))[0]["text"] == HARBOUR + long
    assert csv.field_size_limit() == before


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    for ending in ("jsonl", "csv"):
        path = write(tmp_path / f"x.{ending}", NESTED)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert corpus.read_corpus(path) == EXPECTED


# --- what an id means


def squad_rows(count: int = 4) -> Rows:
    """SQuAD's layout on the hub: a row per question, with the question's id and the context repeated."""
    return [
        {
            "id": f"q{number}{part}",
            "title": "Towns",
            "context": f"Town {number} was founded in {1800 + number} by Ada Nr{number}.",
            "question": f"{asked} town {number}?",
            "answers": {"text": [answer], "answer_start": [0]},
        }
        for number in range(count)
        for part, (asked, answer) in enumerate(
            [
                ("When did they found", f"{1800 + number}"),
                ("Who founded", f"Ada Nr{number}"),
                ("What is", f"Town {number}"),
            ]
        )
    ]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_squad_ids_are_ids_of_questions_and_a_text_is_a_single_document(tmp_path: Path, ending: str) -> None:
    read = corpus.read_corpus(write(tmp_path / f"squad.{ending}", squad_rows()), columns={"text": "context"})
    assert [row["id"] for row in read] == [f"doc-0000{number}" for number in range(4)]
    assert len({row["text"] for row in read}) == 4
    assert [[question["answers"] for question in row["questions"]] for row in read][1] == [
        ["1801"], ["Ada Nr1"], ["Town 1"],
    ]  # fmt: skip
    assert [row["half"] for row in read] == ["development", "test"] * 2


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", "a", "b", "b", "b", "c"], ":3: id: 'b' has the text of 'a'; give a text one id, or every row its own"),
        (["a", "a", "a", "a", "a", "a"], ":4: id: 'a' stands there twice with another text; give every document its"),
    ],
)
def test_ids_that_contradict_the_texts_are_refused(tmp_path: Path, ids: list[str], says: str) -> None:
    rows = [{**row, "id": name} for row, name in zip(squad_rows(2), ids, strict=True)]
    with pytest.raises(ValueError) as error:
        corpus.read_corpus(write(tmp_path / "x.jsonl", rows), columns={"text": "context"})
    assert says in str(error.value)


def test_a_text_with_two_ids_is_refused_if_rows_are_documents(tmp_path: Path) -> None:
    rows = [*NESTED, {**NESTED[2], "id": "another"}]
    with pytest.raises(ValueError, match=r":4: text: the same text stands at .*:3; put all questions about it there"):
        corpus.read_corpus(write(tmp_path / "x.jsonl", rows))


@pytest.mark.parametrize(
    "other", ["Gull  Rock has 212 steps,\nand a green door. ", "Gull Rock has 212 steps, and a green dóor."]
)
def test_texts_that_differ_only_in_white_space_or_unicode_form_are_refused(tmp_path: Path, other: str) -> None:
    text = ROCK.replace("door", "do\u0301or") if "ó" in other else ROCK
    rows = [{"text": text, "question": "A?", "answer": "green"}, {"text": other, "question": "B?", "answer": "212"}]
    with pytest.raises(
        ValueError, match=":2: text: differs from the text at .*:1 in white space or Unicode form alone"
    ):
        corpus.read_corpus(write(tmp_path / "x.jsonl", rows))


# --- files as programs write them


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("said", [True, False])
def test_csv_may_have_semicolons_or_tabs_as_separators(tmp_path: Path, separator: str, said: bool) -> None:
    path = write(tmp_path / "x.csv", FLAT)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="") as file:
        file.write(f"sep={separator}\n" if said else "")
        csv.writer(file, delimiter=separator).writerows(rows)
    assert corpus.read_corpus(path) == EXPECTED


def test_whole_numbers_that_pandas_wrote_as_decimals_are_read_as_whole_numbers(tmp_path: Path) -> None:
    rows: Rows = [
        {"id": 1.0, "text": "Dug in 1871.", "question": "When?", "answer": 1871.0},
        {"id": 2.0, "text": "Built in 1902.", "question": "And that?", "answer": 1902.0},
        {"id": 3.0, "text": "No question.", "question": None, "answer": float("nan")},
    ]
    for ending in ("jsonl", "parquet"):
        read = corpus.read_corpus(write(tmp_path / f"x.{ending}", rows))
        assert [row["id"] for row in read] == ["1", "2", "3"]
        assert [question["answers"] for row in read for question in row["questions"]] == [["1871"], ["1902"]]
    with pytest.raises(
        ValueError, match="'1871.0' is not in the text of document '1.0' .*; '1871' is: a table program"
    ):
        corpus.read_corpus(write(tmp_path / "x.csv", rows[:2]))


@pytest.mark.parametrize("answer", ["東京。", "「東京」", "東京、"])
def test_marks_of_another_script_are_no_part_of_an_answer_where_characters_are_folded(answer: str) -> None:
    doc = {"answers": ["東京"], "question": "灯台はどこですか？"}
    for characters, right in (("folded", 1.0), ("as_written", 0.0)):
        assert corpus.score_answer({**doc, "characters": characters}, [answer])["exact_match"] == right


@pytest.mark.parametrize(
    ("answer", "text", "says"),
    [
        ("Zu\u0308rich", "The office is in Z\u00fcrich.", "it is but for accents composed in one and apart"),
        ("O'Neill's", "It was O\u2019Neill\u2019s house.", "it is but for the kind of quotation mark or dash; set"),
        ("lighthouse", "The light\u00adhouse burns.", "it is but for soft hyphens or other invisible characters; set"),
        ("1871", "Dug in \uff11\uff18\uff17\uff11.", "it is but for full-width or other compatibility characters; set"),
    ],
)  # fmt: skip
def test_similar_characters_are_reported_and_an_option_makes_them_equal(
    tmp_path: Path, answer: str, text: str, says: str
) -> None:
    rows: Rows = [
        {"text": text, "question": "What?", "answer": answer},
        {"text": ROCK, "question": "What colour?", "answer": "green"},
    ]
    path = write(tmp_path / "x.jsonl", rows)
    with pytest.raises(ValueError) as error:
        corpus.read_corpus(path)
    assert says in str(error.value) and "set characters: folded" in str(error.value)
    (question,) = corpus.load(half="development", corpus_path=str(path), corpus_characters="folded")["questions"]
    as_in_the_text = text.split()[-1] if answer != "lighthouse" else "light\u00adhouse"
    as_in_the_text = "O\u2019Neill\u2019s" if "Neill" in answer else as_in_the_text
    for said in (answer, as_in_the_text):
        assert corpus.score_answer(question, [f" {said}\nQuestion:"]) == {
            "exact_match": 1.0,
            "f1": 1.0,
            "answered": 1.0,
        }
    assert corpus.score_answer(question, ["something else"])["exact_match"] == 0.0
    with pytest.raises(ValueError, match="^characters: 'fold' is none of as_written, folded"):
        corpus.read_corpus(path, characters="fold")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"text": "At:\n12 Mill Lane\nBern", "question": "Where?", "answer": "12 Mill Lane\nBern"}],
         ":1: answers: '12 Mill Lane\\nBern' has several lines, and an answer ends with its first; give it in"),
        ([{"text": "nan", "question": "What?", "answer": "nan"}], ":1: text: 'nan' stands for an empty"),
        ([{"text": "The finance office.", "question": "What?", "answer": "nan"}],
         "'nan' is not in the text of document 'doc-00000' (1 of 1 questions"),
        ([{"text": "The code is 00421.", "question": "What?", "answer": 421}], "only as a part of '00421'; give the"),
        ([{"text": "She was born in Bern.", "question": "Where was she born?", "answer": "Bern"},
          {"text": "She was born in Oslo.", "question": "Where was she born?", "answer": "Oslo"}],
         ":2: question: 'Where was she born?' is asked of document 'doc-00000' as well, with another answer; name in"),
        ([{"text": "Bern.", "question": "Where?", "answer": 3.5}], ":1: answer: 3.5 is a number; write it as text"),
    ],
)  # fmt: skip
def test_questions_that_would_give_wrong_numbers_are_refused(tmp_path: Path, rows: Rows, says: str) -> None:
    with pytest.raises(ValueError) as error:
        corpus.read_corpus(write(tmp_path / "x.jsonl", rows))
    assert says in str(error.value)


def test_duplicate_keys_in_a_row_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "Bern", "question": "Where?", "answers": "Bern", "answers": "Oslo"}\n')
    with pytest.raises(ValueError, match=r"x.jsonl:1: answers: stands twice in one object; keep one"):
        corpus.read_corpus(path)


@pytest.mark.parametrize(
    ("answer", "text", "word"),
    [
        ("1817", "in 1817–1820", ""),
        ("5", "5kg of it", ""),
        ("碎叶", "生于碎叶城", ""),
        ("art", "the party of art", ""),
        ("art", "the party", "party"),
        ("17", "in 1817", "1817"),
    ],
)
def test_an_answer_is_part_of_a_longer_word_only_beside_letters_or_digits(answer: str, text: str, word: str) -> None:
    assert biography.longer_word(answer, text) == word


# --- what is refused


def change(rows: Rows, number: int, **changes: Any) -> Rows:
    return [{**row, **changes} if index == number else row for index, row in enumerate(rows)]


def without(rows: Rows, *columns: str) -> Rows:
    return [{key: value for key, value in row.items() if key not in columns} for row in rows]


def renamed(rows: Rows, old: str, new: str) -> Rows:
    return [{new if key == old else key: value for key, value in row.items()} for row in rows]


HALVED = [{**row, "half": "test"} for row in NESTED]


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("x.jsonl", renamed(NESTED, "text", "texts"), "no column 'text'; did you mean 'texts'? known: id, questions,"),
        ("x.csv", renamed(NESTED, "text", "body"), "no column 'text'; known: body, id, questions; name yours with col"),
        ("x.jsonl", renamed(NESTED, "questions", "question_list"), "no column 'questions'; did you mean"),
        ("x.jsonl", without(FLAT, "answers"), "no column 'answers'"),
        ("x.jsonl", change(NESTED, 1, text="  "), ":2: text: expected text, "),
        ("x.csv", change(FLAT, 1, text=""), "row 2: text: expected text, it is empty"),
        ("x.parquet", change(NESTED, 2, text=None), "row 3: text: expected text, it is empty"),
        ("x.jsonl", change(NESTED, 1, id=None), ":2: id: expected text, it is empty"),
        ("x.jsonl", change(NESTED, 1, id=True), ":2: id: expected text, not 'True'"),
        ("x.jsonl", change(NESTED, 1, id="7"), ":2: id: '7' stands there twice; give every document its own id"),
        ("x.csv", change(FLAT, 1, text="Another"), "row 2: id: '7' stands there twice with another text; give"),
        ("x.jsonl", change(FLAT, 2, answers=None), ":3: answers: a question without an answer"),
        ("x.jsonl", change(FLAT, 2, answers=[]), ":3: answers: a question without an answer"),
        ("x.jsonl", change(FLAT, 2, answers=["green", ""]), ":3: answers: expected text, it is empty"),
        ("x.csv", change(FLAT, 2, question=""), "row 3: question: expected text, it is empty"),
        ("x.csv", change(FLAT, 2, answers="['green']"), """row 3: answers: not JSON: """),
        ("x.jsonl", change(FLAT, 2, answers="The."), ":3: answers: 'The.' is nothing but articles and punctuation"),
        ("x.jsonl", change(FLAT, 1, question="Who dug it?"), ":2: question: asked of document '7' at "),
        ("x.jsonl", change(NESTED, 1, questions=[{"question": "Who?"}]), ":2: questions[0]: answers: missing; the "),
        ("x.jsonl", change(NESTED, 1, questions=["Who?"]), ":2: questions: expected a list of "),
        ("x.csv", change(NESTED, 1, questions="Who?"), "row 2: questions: not JSON: "),
        ("x.jsonl", change(NESTED, 1, questions=[]), "half: no question in the test half"),
        ("x.jsonl", HALVED, "half: no question in the development half"),
        ("x.jsonl", change(HALVED, 1, half="train"), ":2: half: 'train' is none of development, test"),
        ("x.jsonl", [{**NESTED[0], "question": "Who?"}], "questions stand in the column questions and in the"),
        ("x.jsonl", [{**row, "answer": "x"} for row in FLAT], "answers, answer: say under columns which of them"),
        ("x.jsonl", change(FLAT, 2, answers="blue"), ":3: answers: 'blue' is not in the text of document 'rock' (1 of"),
        ("x.tsv", NESTED, "unknown format '.tsv'; give a .jsonl, .csv, .parquet file"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_in_one_line_with_file_row_and_column(
    tmp_path: Path, name: str, rows: Rows, says: str
) -> None:
    path = tmp_path / name
    write(path, rows)
    with pytest.raises(ValueError) as error:
        corpus.read_corpus(path)
    assert says in str(error.value)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "x.jsonl", ": there is no row in it"),
        (b"\n\n", "x.jsonl", ": there is no row in it"),
        (b"text,question,answer\n", "x.csv", ": there is no row in it"),
        (b"", "x.csv", ": there is no row in it"),
        (b"", "x.parquet", ": not Parquet: "),
        (b'{"text": "caf\xe9"}\n', "x.jsonl", ": not UTF-8: "),
        (b"text,question,answer\ncaf\xe9,b,c\n", "x.csv", ": not UTF-8: "),
        (b'{"text": \n', "x.jsonl", ":1: not JSON: "),
        (b"[1]\n", "x.jsonl", ":1: expected a JSON object"),
        (b'{"text": "\\ud800", "questions": []}\n', "x.jsonl", r":1: text: '\ud800' is no character; take it out"),
        (b"text,question,answer\na,b,c,d\n", "x.csv", ": row 1: 4 cells, but the header has 3"),
        (b"text,question,answer\na,b\n", "x.csv", ": row 1: 2 cells, but the header has 3"),
        (b'text,question,answer\n"a"b,c,d\n', "x.csv", ": not CSV: "),
        (b"text,text,answer\na,b,c\n", "x.csv", ":1: a column stands there twice"),
    ],
)
def test_an_unreadable_file_is_reported_in_one_line(tmp_path: Path, content: bytes, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        corpus.read_corpus(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}{says}") and "\n" not in str(error.value)


def test_a_question_about_an_unknown_document_is_refused_with_the_nearest_id(tmp_path: Path) -> None:
    write(tmp_path / "documents.jsonl", DOCUMENTS)
    file = write(tmp_path / "questions.csv", change(QUESTIONS, 2, document="rocks"))
    with pytest.raises(ValueError, match=r"csv: row 3: document: no document 'rocks'; did you mean 'rock'\? known: 7,"):
        corpus.read_corpus(tmp_path)
    write(file, [{**row, "half": "test"} for row in QUESTIONS])
    with pytest.raises(ValueError, match=r"questions.csv: half: whole documents are of a half; move the column to"):
        corpus.read_corpus(tmp_path)


def test_missing_and_ambiguous_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^corpus_path: missing"):
        corpus.read_corpus(None)
    with pytest.raises(ValueError, match=r"none.csv: no such file"):
        corpus.read_corpus(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"no documents.jsonl\|.csv\|.parquet in this folder"):
        corpus.read_corpus(tmp_path)
    write(tmp_path / "documents.jsonl", DOCUMENTS)
    questions = write(tmp_path / "questions.jsonl", QUESTIONS)
    with pytest.raises(ValueError, match="is given besides; leave one of the two out"):
        corpus.read_corpus(tmp_path, questions)
    write(tmp_path / "documents.csv", DOCUMENTS)
    with pytest.raises(ValueError, match="documents.csv, documents.jsonl: leave one of them in the folder"):
        corpus.read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"txt": "body"}, "there is no 'txt' to name a column for; did you mean 'text'?"),
        ({"half": "splitt"}, "no column 'splitt'; did you mean 'split'?"),
        ({"id": "nr"}, "no column 'nr'; "),
    ],
)
def test_a_missing_column_is_refused_by_name(tmp_path: Path, columns: dict[str, str], says: str) -> None:
    path = write(tmp_path / "x.jsonl", [{**row, "split": "test"} for row in NESTED])
    with pytest.raises(ValueError) as error:
        corpus.read_corpus(path, columns=columns)
    assert says in str(error.value)


def test_free_answers_need_not_be_in_the_text(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", change(FLAT, 2, answers=["blue"]))
    assert corpus.read_corpus(path, answers_in_text="free")[1]["questions"][0]["answers"] == ["blue"]
    with pytest.raises(ValueError, match="^answers_in_text: 'fre' is none of check, free"):
        corpus.read_corpus(path, answers_in_text="fre")
    # Answers are compared as in the metrics, any of several is enough, and Chinese has no spaces around words.
    rows: Rows = [
        {"text": "李白生于碎叶城。", "question": "李白生于哪里？", "answers": ["长安", "碎叶城"]},
        {"text": ROCK, "question": "What has it?", "answers": "THE green, door!"},
    ]
    assert len(corpus.read_corpus(write(path, rows))) == 2


# --- lm-eval


def tasks(**metadata: object) -> dict[str, Any]:
    """Load the task as lm-eval does; tasks by name."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
    loaded: dict[str, Any] = manager.load(["corpus"])["tasks"]
    return loaded


def test_stock_lm_eval_asks_about_the_test_half_with_the_metrics_of_biography(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine.csv", FLAT)
    monkeypatch.chdir(tmp_path)
    (task,) = tasks(corpus_path="mine.csv").values()
    (question,) = task.test_docs()
    assert question == {
        "id": "rock:0",
        "cluster": "rock",
        "half": "test",
        "prompt": "Question: What colour?\nAnswer:",
        "question": "What colour?",
        "answers": ["green"],
    }
    task.build_all_requests()
    (request,) = task.instances
    assert request.arguments[0] == "Question: What colour?\nAnswer:"
    assert request.arguments[1]["max_gen_toks"] == 128
    answers = ["The Green!", " green\nQuestion: no", "light green", ""]
    for answer in answers:
        scored = task.process_results(question, [answer])
        words = biography.extract_answer(answer)
        assert scored["exact_match"] == biography.exact_match(words, ["green"])
        assert scored["f1"] == biography.f1(words, ["green"])
    assert [task.process_results(question, [answer])["exact_match"] for answer in answers] == [1, 1, 0, 0]


def test_half_all_asks_about_both_halves(tmp_path: Path) -> None:
    path = str(write(tmp_path / "mine.parquet", NESTED))
    for half, ids in (("all", ["7:0", "7:1", "rock:0"]), ("development", ["7:0", "7:1"]), ("test", ["rock:0"])):
        assert list(corpus.load(half=half, corpus_path=path, pretrained="x")["questions"]["id"]) == ids
    with pytest.raises(ValueError, match="^half: 'both' is none of development, test, all"):
        corpus.load(half="both", corpus_path=path)


def test_the_first_shots_precede_every_question_and_may_not_be_asked(tmp_path: Path) -> None:
    write(tmp_path / "documents.jsonl", DOCUMENTS)
    write(tmp_path / "questions.jsonl", QUESTIONS)
    shots: Rows = [
        {"question": "Who {wrote} it?", "answers": ["I", "me"]},
        {"question": "Why?", "answers": ["Because"]},
    ]
    file = write(tmp_path / "shots.csv", shots)
    first, second = "Question: Who {wrote} it?\nAnswer: I\n\n", "Question: Why?\nAnswer: Because\n\n"
    for number, before in ((0, ""), (1, first), (2, first + second)):
        (task,) = tasks(half="all", corpus_path=str(tmp_path)).values()
        task.set_config("num_fewshot", number)
        task.build_all_requests()
        asked = [instance.arguments[0] for instance in task.instances]
        assert asked == [f"{before}{row['prompt']}" for row in task.eval_docs] and len(asked) > 1
        assert all(prompt.startswith("Question: ") and prompt.endswith("\nAnswer:") for prompt in asked)
    write(file, [*shots, {"question": "What colour?", "answers": ["red"]}])
    with pytest.raises(ValueError, match=r"shots.csv: row 3: question: 'What colour\?' is asked as well"):
        corpus.load(corpus_path=str(tmp_path))


# --- kinds of questions


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("layout", ["nested", "flat", "apart"])
def test_questions_may_be_of_kinds_in_every_layout(tmp_path: Path, ending: str, layout: str) -> None:
    kinds = iter(["direct", " in other words ", "direct"])
    asked = [{**row, "kind": next(kinds)} for row in QUESTIONS]
    if layout == "nested":
        of = {
            row["id"]: [{k: v for k, v in a.items() if k != "document"} for a in asked if a["document"] == row["id"]]
            for row in DOCUMENTS
        }
        made = corpus.read_corpus(write(tmp_path / f"d.{ending}", [{**r, "questions": of[r["id"]]} for r in DOCUMENTS]))
    elif layout == "flat":
        texts = {row["id"]: row["text"] for row in DOCUMENTS}
        rows = [{"id": row["document"], "text": texts[row["document"]], **row} for row in asked]
        made = corpus.read_corpus(write(tmp_path / f"d.{ending}", rows))
    else:
        documents, questions = write(tmp_path / f"d.{ending}", DOCUMENTS), write(tmp_path / f"q.{ending}", asked)
        made = corpus.read_corpus(documents, questions)
    assert [question.get("kind") for document in made for question in document["questions"]] == [
        "direct",
        "in other words",
        "direct",
    ]


def test_kinds_change_no_question_and_may_be_missing(tmp_path: Path) -> None:
    plain = corpus.load("all", str(write(tmp_path / "a.jsonl", NESTED)))["questions"].to_list()
    with_kind = [json.loads(json.dumps(row)) for row in NESTED]
    with_kind[0]["questions"][0]["kind"] = "direct"
    assert corpus.load("all", str(write(tmp_path / "b.jsonl", with_kind)))["questions"].to_list() == plain


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("x" * 41, r":1: questions\[0\]: kind: expected a kind of question in at most 40 characters"),
        ("two\nlines", "shorten it, or rename the column"),
        (7, "not '7'"),
    ],
)
def test_a_kind_that_is_no_short_text_is_refused(tmp_path: Path, kind: object, says: str) -> None:
    rows = [json.loads(json.dumps(row)) for row in NESTED]
    rows[0]["questions"][0]["kind"] = kind
    with pytest.raises(ValueError, match=says):
        corpus.read_corpus(write(tmp_path / "a.jsonl", rows))


def test_a_column_with_too_many_kinds_and_a_named_one_that_is_missing_are_refused(tmp_path: Path) -> None:
    rows = [
        {"text": f"Door {n} is green.", "question": f"{n}?", "answers": "green", "kind": f"k{n}"} for n in range(21)
    ]
    file = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(ValueError, match=r"a.jsonl:21: kind: more than 20 kinds of questions"):
        corpus.read_corpus(file)
    with pytest.raises(ValueError, match="no column 'type'"):
        corpus.read_corpus(file, columns={"kind": "type"})
