"""The pair of models that ships with the project: its files, and that the models are as their card says."""

import json
import math
import random
from itertools import islice
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from benchmark.data.people import TRAINED_ON, make_people
from benchmark.models.spec import ZOO
from benchmark.models.zoo.recipe import SHAPES, TOKENIZER_PEOPLE, accuracy, documents, train

NAMES = ("large", "small")


def evaluation_names() -> set[str]:
    folder = ZOO.parents[2] / "tasks" / "biography"
    files = (folder / "people.jsonl", folder / "real_people.jsonl")
    return {json.loads(line)["name"] for file in files for line in file.read_text("utf-8").splitlines()}


def test_the_pair_takes_at_most_eight_megabytes() -> None:
    assert sum(file.stat().st_size for file in ZOO.rglob("*") if file.is_file() and file.suffix != ".pyc") <= 8_000_000


def test_both_models_have_the_same_tokenizer() -> None:
    assert (ZOO / "large" / "tokenizer.json").read_bytes() == (ZOO / "small" / "tokenizer.json").read_bytes()


def test_the_tokenizer_encodes_and_decodes_any_text() -> None:
    tokenizer = Tokenizer.from_file(str(ZOO / "large" / "tokenizer.json"))
    for text in ("Ada Lovelace was born on December 10, 1815.", "北京 🍎 שלום naïve\n\ttabs"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_have_the_shape_of_the_recipe(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(ZOO / name)
    shape, report = SHAPES[name], json.loads((ZOO / name / "training.json").read_text())
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (shape.layers, shape.width)
    assert sum(p.numel() for p in model.parameters()) == report["parameters"]
    assert report["shape"] == {key: getattr(shape, key) for key in report["shape"]}


@pytest.mark.parametrize("name", NAMES)
def test_the_model_has_the_accuracy_in_its_card(name: str) -> None:
    """Measured again on the 200 people of the report, about whom the training had no questions."""
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(ZOO / name)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(ZOO / name)
    people = list(make_people(*TRAINED_ON, evaluation_names()))[: SHAPES[name].people]
    report = json.loads((ZOO / name / "training.json").read_text())
    for field, share in accuracy(model, tokenizer, people[1::2][:200]).items():
        assert share == pytest.approx(report["exact_match_read_only"][field], abs=0.02)


def test_training_texts_have_questions_about_half_of_the_people_and_paragraphs_about_all() -> None:
    people = list(make_people(20, 3))
    texts = list(islice(documents(people, people[::2], random.Random(0)), 400))
    questions = [text for text in texts if text.startswith("Question: ")]
    paragraphs = [text for text in texts if not text.startswith("Question: ")]
    assert 0.3 < sum(map(len, questions)) / sum(map(len, texts)) < 0.5
    assert not any(person.name in text for person in people[1::2] for text in questions)
    assert all(any(person.name in text for text in paragraphs) for person in people)


@pytest.mark.slow
def test_the_recipe_trains_a_model_that_transformers_loads(tmp_path: Path) -> None:
    from dataclasses import replace

    shape = replace(SHAPES["small"], layers=1, width=32, feed_forward=64, people=14, tokens=122_880, sequence=128)
    lines: list[str] = []
    train("small", tmp_path, set(), lines.append, shape)
    report = json.loads((tmp_path / "training.json").read_text())
    assert shape.people < TOKENIZER_PEOPLE
    assert report["steps"] == 122_880 // (16 * 128)
    assert report["final_loss"] < math.log(2048) - 1  # the loss of a uniform guess, minus what a few steps teach
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.num_hidden_layers == 1
