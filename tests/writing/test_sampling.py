"""Nucleus sampling from a local model, compared with a naive implementation."""

import copy
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.core.errors import UserError
from benchmark.data.prompts import Prompt
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.writing.answers import without_thoughts
from benchmark.writing.local import LocalModel, drawn_token, prompt_ids
from benchmark.writing.requests import Request, Sample
from benchmark.writing.settings import Sampling
from tests.models.random_models import UNSUPPORTED, random_model
from tests.tiny import make_tiny_model

PROMPT = Prompt(source="this test", instruction="Text: {document} Write it anew.")


def _naive(logits: list[float], temperature: float, top_p: float, number: float) -> int:
    """The definition: sort all probabilities, cut after the first sum that reaches top_p, invert the distribution."""
    weights = [math.exp(value / temperature) for value in logits]
    pairs = sorted(((weight / math.fsum(weights), -token) for token, weight in enumerate(weights)), reverse=True)
    nucleus: list[tuple[float, int]] = []
    for probability, token in pairs:
        nucleus.append((probability, -token))
        if math.fsum(p for p, _ in nucleus) >= top_p:
            break
    rest = number * math.fsum(p for p, _ in nucleus)
    for probability, token in nucleus:
        rest -= probability
        if rest < 0:
            return token
    return nucleus[-1][1]


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("size", [5, 300, 3000])
def test_a_drawn_token_is_that_of_the_definition(top_p: float, size: int) -> None:
    rng = random.Random(f"{top_p}:{size}")
    for _ in range(40 if size < 1000 else 3):  # the naive way takes the square of the size
        logits = [rng.gauss(0, 2) for _ in range(size)]
        temperature, number = rng.uniform(0.3, 1.5), rng.random()
        expected = _naive(logits, temperature, top_p, number)
        assert drawn_token(torch.tensor(logits, dtype=torch.float64), temperature, top_p, number) == expected


def test_draws_have_the_frequencies_of_the_model() -> None:
    logits, rng = torch.tensor([1.0, 0.0, -1.0, -9.0]), random.Random(4)
    draws = [drawn_token(logits, 1.0, 0.99, rng.random()) for _ in range(20_000)]
    weights = [math.e, 1.0, 1 / math.e]
    for token, weight in enumerate(weights):
        expected = weight / math.fsum(weights)
        error = math.sqrt(expected * (1 - expected) / len(draws))
        assert abs(draws.count(token) / len(draws) - expected) < 4 * error
    assert draws.count(3) == 0


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(model=str(make_tiny_model(tmp_path_factory.mktemp("writer"))))


def _requests(count: int) -> list[Request]:
    return [
        Request(f"t:{number}:1", PROMPT, {"document": "Ada Moss " * (1 + number % 3)}, number)
        for number in range(count)
    ]


def _writer(spec: ModelSpec, sampling: Sampling) -> LocalModel:
    return LocalModel(load_model(spec, "cpu"), tokenizer_of(spec), sampling)


def test_greedy_samples_are_those_of_transformers(spec: ModelSpec) -> None:
    sampling = Sampling(temperature=0, max_tokens=12, batch_size=3)
    model: Any = load_model(spec, "cpu")
    tokenizer: Any = tokenizer_of(spec)
    for request, sample in _writer(spec, sampling).write(_requests(5), {}):
        ids = tokenizer(request.plain, return_tensors="pt").input_ids
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        text = tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True).partition("###")[0].strip()
        assert sample.text == text
        assert sample.prompt_tokens == ids.shape[1]


def test_an_interrupted_run_draws_the_same_samples(spec: ModelSpec) -> None:
    sampling = Sampling(max_tokens=10, batch_size=2)
    whole = {request.name: sample for request, sample in _writer(spec, sampling).write(_requests(5), {})}
    known: dict[str, Sample] = dict(list(whole.items())[:3])  # a batch and a half
    rest = {request.name: sample for request, sample in _writer(spec, sampling).write(_requests(5), known)}
    assert rest.keys() == {"t:2:1", "t:3:1", "t:4:1"}
    assert {**known, **rest} == whole
    assert len({sample.text for sample in whole.values()}) > 1


def test_a_prompt_without_room_for_the_answer_is_refused(spec: ModelSpec) -> None:
    writer = _writer(spec, Sampling(max_tokens=600))
    with pytest.raises(UserError, match=r"t:0:1: prompt and answer need \d+ \+ 600 tokens, more than .* 512"):
        list(writer.write(_requests(1), {}))


def test_settings_of_the_model_do_not_count(spec: ModelSpec, tmp_path: Path) -> None:
    sampling = Sampling(temperature=0, max_tokens=8)
    model = load_model(spec, "cpu")
    model.generation_config.repetition_penalty = 50.0
    changed = LocalModel(model, tokenizer_of(spec), sampling)
    assert list(changed.write(_requests(2), {})) == list(_writer(spec, sampling).write(_requests(2), {}))


def _chat_writer(spec: ModelSpec, template: str) -> LocalModel:
    tokenizer = copy.deepcopy(tokenizer_of(spec))
    tokenizer.chat_template = template
    return LocalModel(load_model(spec, "cpu"), tokenizer, Sampling(temperature=0, max_tokens=4))


def test_a_chat_template_that_fails_is_one_line_with_what_to_do(spec: ModelSpec) -> None:
    for template in ("{% if %}", "{{ raise_exception('a chat begins with a system message') }}"):
        writer = _chat_writer(spec, template)
        with pytest.raises(
            UserError, match="^writer: the chat template of .* fails: Template.*; correct it, or set chat"
        ):
            list(writer.write(_requests(1), {}))


def test_a_prompt_does_not_depend_on_the_day(spec: ModelSpec) -> None:
    tokenizer = copy.deepcopy(tokenizer_of(spec))
    tokenizer.chat_template = (
        "{% if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}{% endif %}"
        "Today: {{ today }}\n{{ strftime_now('%Y-%m-%d') }} {{ messages[0].content }}"
    )
    (request,) = _requests(1)
    text = tokenizer.decode(prompt_ids(request, tokenizer, True))
    assert text == f"Today: 26 Jul 2024\n2024-07-26 {request.message}"


def test_thoughts_that_the_template_begins_are_no_part_of_the_answer(spec: ModelSpec) -> None:
    plain, begun = (
        next(iter(_chat_writer(spec, "{{ messages[0].content }}" + end).write(_requests(1), {})))[1].text
        for end in ("", "<think>\n")
    )
    assert without_thoughts(plain) == plain != ""
    assert begun.startswith("<think>") and without_thoughts(begun) == "", "cut before they end"


def test_logits_that_are_no_numbers_end_the_writing_of_models_without_a_cache(spec: ModelSpec) -> None:
    kind, sizes = UNSUPPORTED["a state instead of keys and values"]
    model = random_model(kind, {**sizes, "vocab_size": 700})
    model.backbone.norm_f.weight.data[0] = float("nan")
    writer = LocalModel(model, tokenizer_of(spec), Sampling(max_tokens=4))
    with pytest.raises(UserError, match="its logits are not finite numbers in float32; set dtype"):
        list(writer.write(_requests(1), {}))
