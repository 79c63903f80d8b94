"""The Wikipedia tasks: their data, the sampling of a subset, alone and under stock lm-eval."""

import hashlib
import json
import os
import random
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.tasks.biography import biography
from benchmark.tasks.wikipedia import wikipedia

ROOT = Path(__file__).parents[2]
COMMIT = "c0ffee" * 6 + "c0ff"

ROWS: list[dict[str, Any]] = [
    {
        "title": "A",
        "context": "Ann was born in Rome.",
        "question": "Where was Ann born?",
        "answers": ["Rome", "in Rome"],
    },
    {"title": "B", "context": "Bob plays the oboe.", "question": "What does Bob play?", "answers": ["the oboe"]},
    {"title": "A", "context": "Ann was born in Rome.", "question": "Who was born in Rome?", "answers": ["Ann"]},
    {"title": "C", "context": "Cy died in 1900.", "question": "When did Cy die?", "answers": ["1900", "in 1900"]},
    {"title": "D", "context": "Dee won twice.", "question": "How often did Dee win?", "answers": ["twice"]},
]


def hub_rows(rows: list[dict[str, Any]] = ROWS) -> list[dict[str, Any]]:
    """Rows as the hub's data sets have them, with answers as an object of lists."""
    return [
        {**row, "id": str(n), "answers": {"text": row["answers"], "answer_start": [0] * len(row["answers"])}}
        for n, row in enumerate(rows)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON lines or, by the suffix, as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def squad_file(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """Write rows in SQuAD's own layout: articles, their paragraphs, their questions."""
    contexts = dict.fromkeys((row["title"], row["context"]) for row in rows)
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": context,
                    "qas": [
                        {"id": "x", "question": row["question"], "answers": [{"text": a} for a in row["answers"]]}
                        for row in rows
                        if row["context"] == context
                    ],
                }
            ],
        }
        for title, context in contexts
    ]
    path.write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")
    return path


def tasks(name: str, **metadata: object) -> Any:
    """Load a task as lm-eval does."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
    return manager.load([name])["tasks"][name]


# --- SQuAD


@pytest.fixture(scope="session")
def squad(shared: Path) -> Path:
    path = shared / "data" / "squad_v11_dev" / "squad_v11_dev.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def test_squads_development_set_has_the_published_numbers_of_paragraphs_and_questions(squad: Path) -> None:
    paragraphs = wikipedia.read_paragraphs(squad)
    assert len(paragraphs) == 2067
    assert sum(len(paragraph["questions"]) for paragraph in paragraphs) == 10570
    assert Counter(paragraph["half"] for paragraph in paragraphs) == {"development": 1034, "test": 1033}
    ids = [question["id"] for paragraph in paragraphs for question in paragraph["questions"]]
    assert len(set(ids)) == 10570 and len({paragraph["id"] for paragraph in paragraphs}) == 2067


def test_every_question_of_squad_keeps_its_paragraph_and_answers(squad: Path) -> None:
    naive: dict[str, list[tuple[str, list[str]]]] = {}
    for article in json.loads(squad.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            asked = [(q["question"], [answer["text"] for answer in q["answers"]]) for q in paragraph["qas"]]
            naive[paragraph["context"].strip()] = asked
    for paragraph in wikipedia.read_paragraphs(squad):
        assert [(q["question"], q["answers"]) for q in paragraph["questions"]] == naive[paragraph["text"]]
        assert paragraph["id"] == hashlib.sha256(paragraph["text"].encode()).hexdigest()[:16]
        assert all(q["answers"][0] in paragraph["text"] for q in paragraph["questions"])


def test_a_sample_of_squad_has_many_articles_in_both_halves(squad: Path) -> None:
    drawn = wikipedia.read_paragraphs(squad, count=400)
    for half in wikipedia.HALVES:
        titles = Counter(paragraph["title"] for paragraph in drawn if paragraph["half"] == half)
        assert len(titles) > 35 and max(titles.values()) < 20  # of 48 articles, 200 paragraphs


def test_every_answer_of_squad_can_be_generated_by_the_tiny_pair(squad: Path) -> None:
    from tokenizers import Tokenizer

    limit = tasks("wikipedia_mini").config.generation_kwargs["max_gen_toks"]
    tokenizer = Tokenizer.from_file(str(ROOT / "benchmark" / "models" / "zoo" / "large" / "tokenizer.json"))
    golds = [f" {q['answers'][0]}" for p in wikipedia.read_paragraphs(squad) for q in p["questions"]]
    assert max(len(encoding.ids) for encoding in tokenizer.encode_batch(golds)) <= limit


def test_no_shot_is_a_question_of_a_corpus_or_answered_by_it(squad: Path) -> None:
    shots = {biography.normalise(shot["question"]) for shot in wikipedia.read_shots()}
    assert len(shots) == 10
    for paragraphs in (wikipedia.read_paragraphs(squad), wikipedia.read_mini()):
        assert not shots & {biography.normalise(q["question"]) for p in paragraphs for q in p["questions"]}


# --- files


def test_every_layout_gives_the_same_data(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "rows.jsonl", ROWS),
        write(tmp_path / "hub.jsonl", hub_rows()),
        write(tmp_path / "hub.parquet", hub_rows()),
        write(tmp_path / "lines.json", hub_rows()),
        squad_file(tmp_path / "squad.json"),
    ]
    (tmp_path / "list.json").write_text(json.dumps(ROWS))
    (tmp_path / "data.json").write_text(json.dumps({"data": hub_rows()}))
    first, *others = [wikipedia.read_paragraphs(f) for f in [*files, tmp_path / "list.json", tmp_path / "data.json"]]
    for paragraph in (paragraph for paragraphs in [first, *others] for paragraph in paragraphs):
        for question in paragraph["questions"]:
            question["start"] = 0  # some layouts say where the first answer stands
    assert all(other == first for other in others)
    assert {p["text"]: [(q["question"], q["answers"]) for q in p["questions"]] for p in first} == {
        "Ann was born in Rome.": [("Where was Ann born?", ["Rome", "in Rome"]), ("Who was born in Rome?", ["Ann"])],
        "Bob plays the oboe.": [("What does Bob play?", ["the oboe"])],
        "Cy died in 1900.": [("When did Cy die?", ["1900", "in 1900"])],
        "Dee won twice.": [("How often did Dee win?", ["twice"])],
    }


def test_a_question_asked_twice_about_a_paragraph_is_two_questions_with_different_ids(tmp_path: Path) -> None:
    again = {**ROWS[1], "context": " Bob plays the oboe.\n", "answers": ["oboe", "oboe "]}
    (paragraph,) = wikipedia.read_paragraphs(write(tmp_path / "p.jsonl", [ROWS[1], again]))
    assert paragraph["text"] == "Bob plays the oboe."
    first, second = paragraph["questions"]
    assert second["id"] == f"{first['id']}-2" and first["id"].startswith(paragraph["id"])
    assert (first["answers"], second["answers"]) == (["the oboe"], ["oboe"])


# --- a list of ids


def ids_of(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def paragraph_id(context: str) -> str:
    return hashlib.sha256(context.encode()).hexdigest()[:16]


def test_a_list_chooses_paragraphs_by_their_own_id_or_by_an_id_of_any_of_their_questions(tmp_path: Path) -> None:
    data = write(tmp_path / "hub.jsonl", hub_rows())
    everything = {p["text"]: p for p in wikipedia.read_paragraphs(data)}
    ann, bob, cy = "Ann was born in Rome.", "Bob plays the oboe.", "Cy died in 1900."
    # By the data's id of Ann's second question, by this task's id of Bob's question, and by Cy's own id.
    of_bob = everything[bob]["questions"][0]["id"]
    listed = ids_of(tmp_path / "ids.txt", "# three", "2", f"  {of_bob} ", "", paragraph_id(cy))
    chosen = wikipedia.read_paragraphs(data, count=listed)
    assert {p["text"] for p in chosen} == {ann, bob, cy}
    assert [q["question"] for p in chosen if p["text"] == ann for q in p["questions"]] == [
        "Where was Ann born?",
        "Who was born in Rome?",
    ]
    assert [p["half"] for p in chosen] == ["development", "test", "development"]
    everything_in_order = [p["text"] for p in wikipedia.read_paragraphs(data)]
    assert [p["text"] for p in chosen] == [text for text in everything_in_order if "Dee" not in text]
    asked = wikipedia.load("squad", half="all", paragraphs=str(listed), wikipedia_squad_path=str(data))["questions"]
    assert set(asked["cluster"]) == {paragraph_id(text) for text in (ann, bob, cy)}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["0", "nowhere"],
            r"ids\.txt:2: 'nowhere' is no paragraph or question of .*rows\.jsonl; correct or remove this",
        ),
        (["0", "# x", "0"], r"ids\.txt:3: '0' is already in line 1; remove one of the two"),
        (["# x", ""], r"ids\.txt: no id in it; give the ids of paragraphs or questions, one a line"),
        (["x"], r"ids\.txt:1: 'x' is a question of 2 paragraphs; give the id of one of them"),
    ],
)
def test_a_list_with_an_unknown_double_or_ambiguous_id_or_none_is_rejected(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    rows = [*hub_rows(ROWS[:2]), *({**row, "id": "x"} for row in ROWS[3:])]
    data = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=message):
        wikipedia.read_paragraphs(data, count=ids_of(tmp_path / "ids.txt", *lines))


def test_a_list_that_is_not_there_is_rejected_and_mini_takes_none(tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"gone\.txt: paragraphs: no such file; .* or one of: seal"):
        wikipedia.read_paragraphs(data, count=tmp_path / "gone.txt")
    with pytest.raises(ValueError, match=r"paragraphs: 'seal' is no number"):
        wikipedia.load("mini", paragraphs="seal")


def test_seals_list_is_what_its_rule_draws_from_squad_with_the_published_number_of_questions(squad: Path) -> None:
    articles = json.loads(squad.read_text(encoding="utf-8"))["data"]
    contexts = [paragraph["context"].strip() for article in articles for paragraph in article["paragraphs"]]
    random.Random(42).shuffle(contexts)
    assert list(wikipedia.read_ids(wikipedia.LISTS["seal"])) == [paragraph_id(context) for context in contexts[:200]]
    chosen = wikipedia.read_paragraphs(squad, count="seal")
    assert sum(len(paragraph["questions"]) for paragraph in chosen) == 974
    assert {p["id"] for p in chosen} == {paragraph_id(context) for context in contexts[:200]}


def many(count: int) -> list[dict[str, Any]]:
    return [{"context": f"Text {n}.", "question": f"What is {n}?", "answers": [str(n)]} for n in range(count)]


def test_a_larger_sample_begins_with_the_smaller_sample(tmp_path: Path) -> None:
    file = write(tmp_path / "many.jsonl", many(60))
    whole = wikipedia.read_paragraphs(file, seed=3)
    assert [p["half"] for p in whole] == ["development", "test"] * 30
    for count in (1, 2, 17, 59):
        assert wikipedia.read_paragraphs(file, count=count, seed=3) == whole[:count]


def test_a_sample_depends_on_the_seed_and_the_paragraphs_but_not_on_their_order(tmp_path: Path) -> None:
    rows = many(60)
    first = wikipedia.read_paragraphs(write(tmp_path / "many.jsonl", rows), count=20)
    random.Random(0).shuffle(rows)
    assert wikipedia.read_paragraphs(write(tmp_path / "other.parquet", rows), count=20) == first
    other = wikipedia.read_paragraphs(tmp_path / "many.jsonl", count=20, seed=2)
    shared = {p["text"] for p in first} & {p["text"] for p in other}
    assert 0 < len(shared) < 20  # a third, on average
    # An independent account of the order: by the hash of seed and id.
    ids = sorted(
        (hashlib.sha256(row["context"].encode()).hexdigest()[:16] for row in rows),
        key=lambda name: hashlib.sha256(f"2:{name}".encode()).digest(),
    )
    assert [p["id"] for p in other] == ids[:20]


def test_the_file_of_a_split_is_found_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00002.parquet", hub_rows(many(2)))
    write(tmp_path / "data" / "train-00001-of-00002.parquet", hub_rows(many(5)[2:]))
    squad_file(tmp_path / "dev-v1.1.json")
    write(tmp_path / "default" / "test" / "0000.parquet", hub_rows(many(3)))
    write(tmp_path / "constrained.jsonl", many(9))
    sizes = {split: len(wikipedia.read_paragraphs(tmp_path, split)) for split in ("train", "validation", "test")}
    assert sizes == {"train": 5, "validation": 4, "test": 3}
    assert wikipedia.read_paragraphs(tmp_path) == wikipedia.read_paragraphs(tmp_path / "dev-v1.1.json")


def test_a_paragraph_without_questions_is_still_a_text(tmp_path: Path) -> None:
    squad_file(tmp_path / "s.json")
    content = json.loads((tmp_path / "s.json").read_text())
    content["data"][0]["paragraphs"].append({"context": "Nobody asks.", "qas": []})
    (tmp_path / "s.json").write_text(json.dumps(content))
    paragraphs = wikipedia.read_paragraphs(tmp_path / "s.json")
    assert len(paragraphs) == 5 and [p["questions"] for p in paragraphs if p["text"] == "Nobody asks."] == [[]]


# --- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": None}, r":2: context: expected a string that is not empty, not None$"),
        ({"context": " "}, r":2: context: expected a string that is not empty, not ' '$"),
        ({"question": 3}, r":2: question: expected a string"),
        ({"answers": []}, r":2: answers: expected a list of one or more"),
        ({"answers": {"text": []}}, r":2: answers: expected a list of one or more"),
        ({"answers": "Rome"}, r":2: answers: expected a list of one or more"),
        ({"answers": ["Rome", ""]}, r":2: answers: expected a string that is not empty, not ''$"),
        ({"answers": [7]}, r":2: answers: expected a string"),
        ({"question": "What is \ud800?"}, r":2: question: '\\ud800' is no character; take it out$"),
    ],
)
def test_an_invalid_row_is_refused_with_its_line_and_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = write(tmp_path / "p.jsonl", [ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(ValueError, match=f"^{file}{message}") as caught:
        wikipedia.read_paragraphs(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", b"", "there is no paragraph in it"),
        ("p.jsonl", b"[1]\n", ":1: expected a JSON object"),
        ("p.jsonl", b"{\n", ":1: not JSON"),
        ("p.jsonl", b"\xff", "not UTF-8"),
        ("p.json", b"\xff", "not UTF-8"),
        ("p.json", b"{", "not JSON"),
        ("p.json", b"[3]", r": \[0\]: expected a JSON object"),
        ("p.json", b'{"data": [3]}', r"data\[0\]: context: expected"),
        (
            "p.json",
            b'{"data": [{"paragraphs": [{"context": "x"}]}]}',
            r"data\[0\].paragraphs\[0\]: qas: expected a list",
        ),
        (
            "p.json",
            b'{"data": [{"paragraphs": [{"context": "x", "qas": [{"question": "y", "answers": []}]}]}]}',
            r"data\[0\].paragraphs\[0\].qas\[0\]: answers: expected a list of one or more",
        ),
        ("p.parquet", b"no Parquet", "not Parquet"),
        ("p.txt", b"text", "not a .json, .jsonl or .parquet file"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*{message}") as caught:
        wikipedia.read_paragraphs(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_invalid_options_are_refused_by_name(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        wikipedia.read_paragraphs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a file, all of which is taken; leave split out"):
        wikipedia.read_paragraphs(file, "validation")
    with pytest.raises(ValueError, match="^split: 'dev' is none of train, validation, test$"):
        wikipedia.read_paragraphs(tmp_path, "dev")
    with pytest.raises(ValueError, match="of 'validation'; there is rows.jsonl$"):
        wikipedia.read_paragraphs(tmp_path)
    write(tmp_path / "test.jsonl", ROWS)
    write(tmp_path / "test.parquet", hub_rows())
    with pytest.raises(ValueError, match=r"several formats \(test.jsonl, test.parquet\); leave one of them$"):
        wikipedia.read_paragraphs(tmp_path, "test")
    for wrong in (0, 5, True, "3"):
        with pytest.raises(
            ValueError, match=r"^paragraphs: .* is no number from 1 to 4, the paragraphs that there are$"
        ):
            wikipedia.read_paragraphs(file, count=wrong)
    with pytest.raises(ValueError, match="^half: 'train' is none of development, test, all$"):
        wikipedia.load("mini", half="train")
    with pytest.raises(ValueError, match="^subset_seed: 'one' is no whole number$"):
        wikipedia.load("squad", subset_seed="one", wikipedia_squad_path=str(file))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no question about a paragraph of the half 'test'$"):
        wikipedia.load("pwqa", paragraphs=1, wikipedia_pwqa_path=str(file))


# --- the hub


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's files, without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache: Path, repository: str, name: str, rows: list[dict[str, Any]], commit: str = COMMIT) -> Path:
    """Put a file into the cache as the newest commit of a data set."""
    folder = cache / f"datasets--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return write(folder / "snapshots" / commit / name, rows)


@pytest.mark.parametrize("source", ["squad", "pwqa"])
def test_cached_data_need_no_network(cache: Path, source: str) -> None:
    repository = {"squad": "rajpurkar/squad", "pwqa": "lmqg/qa_harvesting_from_wikipedia"}[source]
    name = {"squad": "plain_text/validation-00000-of-00001.parquet", "pwqa": "data/processed/validation.jsonl"}[source]
    file = cached(cache, repository, name, hub_rows())
    folder = wikipedia.fetch(source)
    assert folder.name == COMMIT and wikipedia.read_paragraphs(folder) == wikipedia.read_paragraphs(file)
    cached(cache, repository, name, hub_rows(many(7)), commit="0" * 40)
    assert len(wikipedia.load(source, half="all")["questions"]) == 7
    options = {f"wikipedia_{source}_revision": COMMIT}
    assert len(wikipedia.load(source, half="all", **options)["questions"]) == 5  # type: ignore[arg-type]


def test_an_unreachable_hub_is_reported_in_one_line_that_suggests_local_files(cache: Path) -> None:
    with pytest.raises(
        ValueError, match="^the hub did not give 'rajpurkar/squad' .*give the file or folder as path"
    ) as no:
        wikipedia.load("squad")
    assert "wikipedia_squad_path" in str(no.value) and "\n" not in str(no.value)
    cached(cache, "rajpurkar/squad", "plain_text/validation-00000-of-00001.parquet", hub_rows())
    with pytest.raises(ValueError, match="no .json, .jsonl or .parquet file of 'train'"):
        wikipedia.fetch("squad", "train")


# --- what ships


def test_the_shipped_paragraphs_have_questions_in_both_halves() -> None:
    paragraphs = wikipedia.read_mini()
    assert {p["half"] for p in paragraphs} == {"development", "test"}
    assert all(p["questions"] and p["text"] for p in paragraphs)
    assert wikipedia.read_mini(2) == paragraphs[:2]
    asked = [q for p in paragraphs if p["half"] == "test" for q in p["questions"]]
    assert wikipedia.load("mini")["questions"]["id"] == [q["id"] for q in asked]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(half="dev"), ":2: half: 'dev' is none of"),
        (lambda row: row.pop("title"), ":2: title: expected a string"),
        (lambda row: row.update(questions={}), ":2: questions: expected a list"),
        (lambda row: row["questions"].append("who?"), ":2: questions: question: expected a string"),
        (lambda row: row["questions"][0].update(kind="odd"), ":2: questions: kind: 'odd' is none of direct, coref"),
        (lambda row: row["questions"][0].update(answers=[]), ":2: questions: answers: expected a list of one or more"),
        (lambda row: row.update(id="a"), ": id: 'a' stands there 2 times"),
        (lambda row: row["questions"][0].update(id="a-0"), ": questions.id: 'a-0' stands there 2 times"),
    ],
)
def test_an_invalid_line_of_the_shipped_layout_is_refused_with_its_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": name,
            "title": name,
            "half": "test",
            "text": f"Text {name}.",
            "questions": [{"id": f"{name}-0", "question": "Who?", "answers": ["Me"], "kind": "direct"}],
        }
        for name in "ab"
    ]
    assert [p["id"] for p in wikipedia.read_mini(path=write(tmp_path / "m.jsonl", rows))] == ["a", "b"]
    change(rows[1])
    with pytest.raises(ValueError, match=f"m.jsonl{message}"):
        wikipedia.read_mini(path=write(tmp_path / "m.jsonl", rows))


# --- what lm-eval makes of it


def test_lm_eval_renders_five_shots_and_the_question_without_its_paragraph(tmp_path: Path) -> None:
    task = tasks("wikipedia_squad", wikipedia_squad_path=str(write(tmp_path / "p.jsonl", ROWS)), half="all")
    prompts = [task.fewshot_context(doc, 5) for doc in task.eval_docs]
    expected = """\
Question: What is the capital of Australia?
Answer: Canberra

Question: Who wrote the novel Pride and Prejudice?
Answer: Jane Austen

Question: In which year did the Berlin Wall fall?
Answer: 1989

Question: How many strings does a violin have?
Answer: four

Question: Which ocean lies between Africa and Australia?
Answer: the Indian Ocean

Question: When did Cy die?
Answer:"""
    assert task.config.num_fewshot == 5 and len(prompts) == 5 and expected in prompts
    shots = expected[: expected.rindex("Question:")]
    assert all(prompt.startswith(shots) and "oboe." not in prompt for prompt in prompts)


def test_the_shots_are_the_same_for_every_question(tmp_path: Path) -> None:
    file = str(write(tmp_path / "p.jsonl", ROWS))
    drawn = [
        wikipedia.load("mini"),
        wikipedia.load("squad", wikipedia_squad_path=file),
        wikipedia.load("pwqa", paragraphs=2, subset_seed=5, wikipedia_pwqa_path=file),
    ]
    assert len({json.dumps(list(splits["shots"])) for splits in drawn}) == 1


def naive_words(text: str) -> list[str]:
    """SQuAD v1.1 normalisation without regular expressions: the same on ASCII text whose words end at spaces."""
    kept = "".join("" if c in string.punctuation else c.lower() for c in text)
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def naive_f1(answer: str, gold: str) -> float:
    """F1, computed by removing shared words one by one."""
    left, right, shared = naive_words(answer), naive_words(gold), 0
    precision, recall = 1 / max(len(left), 1), 1 / max(len(right), 1)
    for word in left:
        if word in right:
            right.remove(word)
            shared += 1
    precision, recall = shared * precision, shared * recall
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def evaluate(lm: Any, name: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Run stock lm-eval in this process."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
    results: dict[str, Any] = simple_evaluate(
        lm, tasks=[name], task_manager=manager, bootstrap_iters=1, log_samples=True
    )
    return results


def test_an_answer_has_the_metrics_of_its_best_gold_answer(tmp_path: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

    said = {
        "Where was Ann born?": "In Rome.",  # the second gold answer
        "Who was born in Rome?": "Ann Lee",  # half of it
        "What does Bob play?": "Oboe",
        "When did Cy die?": "it was in 1900",
        "How often did Dee win?": "thrice",
    }

    class Dummy(LM):  # type: ignore[misc]
        """Gives the prepared answers, and continues after the end of the line."""

        def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
            asked = [request.args[0].split("\n\n")[-1] for request in requests]
            return [f" {said[q.removeprefix('Question: ').removesuffix(chr(10) + 'Answer:')]}\nRome" for q in asked]

        def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    file = write(tmp_path / "test.parquet", hub_rows())
    options = {"half": "all", "split": "test", "wikipedia_pwqa_path": str(file.parent)}
    results = evaluate(Dummy(), "wikipedia_pwqa", options)
    samples = {sample["doc"]["question"]: sample for sample in results["samples"]["wikipedia_pwqa"]}
    by_hand = {
        "Where was Ann born?": (1.0, 1.0),
        "Who was born in Rome?": (0.0, 2 * (1 / 2) * 1 / (1 / 2 + 1)),
        "What does Bob play?": (1.0, 1.0),
        "When did Cy die?": (0.0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        "How often did Dee win?": (0.0, 0.0),
    }
    assert {question: (s["exact_match"], s["f1"]) for question, s in samples.items()} == {
        question: (exact, pytest.approx(f1)) for question, (exact, f1) in by_hand.items()
    }
    for question, sample in samples.items():
        golds = sample["doc"]["answers"]
        assert sample["f1"] == pytest.approx(max(naive_f1(said[question], gold) for gold in golds))
        assert sample["exact_match"] == any(naive_words(said[question]) == naive_words(gold) for gold in golds)
    mean = sum(f1 for _, f1 in by_hand.values()) / 5
    assert results["results"]["wikipedia_pwqa"]["exact_match,none"] == pytest.approx(2 / 5)
    assert results["results"]["wikipedia_pwqa"]["f1,none"] == pytest.approx(mean)


def test_the_metrics_are_those_of_the_biography_task() -> None:
    rng = random.Random(1)
    words = ["the", "Rome", "in", "1,900", "oboe.", "A"]
    for _ in range(200):
        answer, *golds = (" ".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(4))
        doc = {"answers": golds, "question": "What?", "field": "major", "source": ""}
        mine, theirs = wikipedia.score_answer(doc, [f" {answer}\nx"]), biography.score_answer(doc, [answer])
        assert {m: mine[m] for m in ("exact_match", "f1")} == {m: theirs[m] for m in ("exact_match", "f1")}


@pytest.mark.parametrize(
    ("answer", "answers"),
    [
        (" light green", True),
        (" the green of the door of the house", False),  # words of the prompt
        (" the door of the barn", True),  # which is right, so an answer
        (" green" * 32, True),
        (" green" * 33, False),  # runs on to the limit of tokens
        (" ", False),
        (" What colour?", False),
        (" Question: What", False),
        (" Question marks", True),
        ("灯台は何色ですか？", False),
        ("浅" * 32, False),  # one word more, since it is also one between spaces
        ("浅" * 31, True),
    ],
)
def test_a_free_answer_counts_as_answered_if_it_is_right_or_ends_without_repeating_the_prompt(
    answer: str, answers: bool
) -> None:
    doc = {"answers": ["The door of the barn"], "question": "What colour is the door of the house?"}
    assert wikipedia.score_answer(doc, [answer])["answered"] == float(answers)


@pytest.mark.slow
def test_the_stock_lm_eval_command_finds_the_data_from_another_folder(tiny: Path, tmp_path: Path) -> None:
    file, elsewhere = write(tmp_path / "p.jsonl", many(6)), tmp_path / "elsewhere"
    elsewhere.mkdir()
    metadata = {"half": "development", "wikipedia_squad_path": str(file), "paragraphs": 4, "subset_seed": 2}
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={tiny}"]
    command += ["--include_path", str(ROOT / "tasks"), "--tasks", "wikipedia_squad,wikipedia_mini", "--device", "cpu"]
    command += ["--metadata", json.dumps({**metadata, "paragraphs": 3}), "--output_path", "out", "--log_samples"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    subprocess.run(command, cwd=elsewhere, check=True, env=environment, capture_output=True)
    (samples,) = elsewhere.glob("out/**/samples_wikipedia_squad_*.jsonl")
    asked = [json.loads(line)["doc"]["question"] for line in samples.read_text().splitlines()]
    drawn = wikipedia.read_paragraphs(file, count=3, seed=2)
    assert asked == [q["question"] for p in drawn if p["half"] == "development" for q in p["questions"]]
    assert len(asked) == 2
    assert list(elsewhere.glob("out/**/samples_wikipedia_mini_*.jsonl"))
