"""SharedPrefixLM must give the answers of stock lm-eval."""

import copy
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing
from transformers import AddedToken, AutoTokenizer

from benchmark.evaluation import batch_limits
from benchmark.evaluation.shared_prefix_lm import SharedPrefixLM
from benchmark.models.shared_prefix import PrefixReader
from tests.models.random_models import SUPPORTED, UNSUPPORTED, random_model

SHOTS = {
    "born": "Question: Where was Ann Low born?\nAnswer: Leeds\n\nQuestion: Where was Bo Ek born?\nAnswer: Umea\n\n",
    "works": "Question: Who employs Ann Low?\nAnswer: Acme\n\nQuestion: Who employs Bo Ek?\nAnswer: Nobody\n\n",
}
NAMES = ["Al", "Beatrice Collingwood", "Cy Dee", "Ed", "Philippa Anastasia Montgomery", "Jo"]
CHOICES = [" Leeds", " Umea in the very north", " A", " B", " Leeds or so", " Umea in the very south"]
GREEDY = {"until": ["\n"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 12}


def prompts() -> list[tuple[str, str]]:
    """Tasks with prompts, the two tasks alternating."""
    return [(task, f"{SHOTS[task]}Question: And {name}?\nAnswer:") for name in NAMES for task in SHOTS]


def generations(settings: dict[str, Any]) -> list[Instance]:
    return [
        Instance("generate_until", {}, (prompt, copy.deepcopy(settings)), number, (task, number, 1))
        for number, (task, prompt) in enumerate(prompts())
    ]


def likelihoods() -> list[Instance]:
    asked = [(task, (prompt, choice)) for task, prompt in prompts() for choice in CHOICES]
    asked += [("alone", ("", " Leeds is a town")), ("alone", ("The town is ", "Leeds")), asked[3]]
    return [
        Instance("loglikelihood", {}, arguments, number, (task, number, 1))
        for number, (task, arguments) in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def tokenizer(tiny: Any) -> Any:
    return AutoTokenizer.from_pretrained(tiny)


def with_first_token(tokenizer: Any) -> Any:
    """The tokenizer with a special token before every text, as Llama and Gemma have it."""
    changed = copy.deepcopy(tokenizer)
    changed.add_special_tokens({"bos_token": "<begin>"})
    changed._tokenizer.post_processor = TemplateProcessing(
        single="<begin> $A", special_tokens=[("<begin>", changed.bos_token_id)]
    )
    assert changed("a")["input_ids"][0] == changed.bos_token_id
    return changed


def sized(table: dict[str, tuple[str, dict[str, Any]]], name: str, tokenizer: Any, **changes: Any) -> Any:
    kind, sizes = table[name]
    return random_model(kind, {**sizes, "vocab_size": len(tokenizer) + 3, **changes})


def ours(model: Any, tokenizer: Any, batch_size: int = 3) -> SharedPrefixLM:
    return SharedPrefixLM(model, tokenizer, batch_size, lambda done, total: None)


def stock(model: Any, tokenizer: Any, batch_size: int = 3) -> Any:
    return HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size)


def answered(lm: Any, kind: str, requests: list[Instance]) -> tuple[list[Any], list[Any]]:
    """The answers, and the calls of lm-eval's cache hook, sorted, since their order does not matter."""
    calls: list[Any] = []
    lm.cache_hook.add_partial = lambda *call: calls.append(call)
    return getattr(lm, kind)(requests, disable_tqdm=True), sorted(calls, key=lambda call: repr(call[:2]))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "qwen3", "mistral"])
def test_greedy_answers_are_those_of_stock_lm_eval(name: str, first: bool, tokenizer: Any) -> None:
    tokenizer = with_first_token(tokenizer) if first else tokenizer
    model = sized(SUPPORTED, name, tokenizer)
    assert PrefixReader(model).supported
    for settings in (GREEDY, {"until": ["e", "a b"], "max_gen_toks": 5}, {"until": [], "max_gen_toks": 3}):
        answers = answered(ours(model, tokenizer), "generate_until", generations(settings))
        expected = answered(stock(model, tokenizer), "generate_until", generations(settings))
        assert answers == expected
        assert len(set(answers[0])) > 3


def test_end_tokens_end_an_answer_as_in_stock_lm_eval(tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer)
    without_end = stock(model, tokenizer).generate_until(generations(GREEDY), True)
    ids = [torch.tensor([tokenizer(prompts()[number][1])["input_ids"]]) for number in (0, 3)]
    first, second = (model.generate(prompt, max_new_tokens=5, do_sample=False)[0, -5:].tolist() for prompt in ids)
    model.generation_config.eos_token_id = [0, first[3], second[2]]
    marked = copy.deepcopy(tokenizer)
    tokens = [
        AddedToken(tokenizer.convert_ids_to_tokens(id_), special=True, single_word=True)
        for id_ in (first[3], second[2])
    ]
    marked.add_special_tokens({"additional_special_tokens": tokens})
    expected = stock(model, marked).generate_until(generations(GREEDY), True)
    assert ours(model, marked).generate_until(generations(GREEDY)) == expected
    assert len(expected[0]) < len(without_end[0]) and len(expected[3]) < len(without_end[3])


def test_ordinary_tokens_that_a_model_lists_as_end_tokens_do_not_end_an_answer(tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer)
    expected = stock(model, tokenizer).generate_until(generations(GREEDY), True)
    model.generation_config.eos_token_id = [0, *range(1, 600, 2)]
    lm = ours(model, tokenizer)
    assert lm.generate_until(generations(GREEDY)) == expected
    assert len(lm.notes) == 1 and lm.notes[0].startswith("the model's eos_token_id=[1, 3, 5,")


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "qwen3", "mistral"])
def test_likelihoods_are_those_of_stock_lm_eval(name: str, first: bool, tokenizer: Any) -> None:
    tokenizer = with_first_token(tokenizer) if first else tokenizer
    # With a window narrower than a prompt, every continuation has a row of its own.
    for window in {SUPPORTED[name][1].get("sliding_window"), SUPPORTED[name][1].get("sliding_window") and 200}:
        model = sized(SUPPORTED, name, tokenizer, **({"sliding_window": window} if window else {}))
        answers, calls = answered(ours(model, tokenizer), "loglikelihood", likelihoods())
        expected, expected_calls = answered(stock(model, tokenizer), "loglikelihood", likelihoods())
        assert [number for number, _ in answers] == pytest.approx([number for number, _ in expected], rel=1e-5)
        assert [likeliest for _, likeliest in answers] == [likeliest for _, likeliest in expected]
        assert [call[:2] for call in calls] == [call[:2] for call in expected_calls]


def test_a_continuation_that_begins_inside_a_token_is_scored_from_that_token_on(tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer)
    text = "Who? Question: Where was Ann Low born?"
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    number, (start, end) = max(enumerate(offsets), key=lambda token: (token[1][1] - token[1][0], token[0]))
    assert end - start > 2 and number > 0
    for cut in (start + 1, end - 1):
        asked = [Instance("loglikelihood", {}, (text[:cut], text[cut:end]), 0, ("cut", 0, 1))]
        ((likelihood, _),) = ours(model, tokenizer).loglikelihood(asked)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[: number + 1]])).logits[0, number - 1]
        assert likelihood == pytest.approx(float(logits.log_softmax(dim=-1)[ids[number]]), abs=1e-4)


def test_the_likeliest_continuation_is_marked_as_such(tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer)
    (answer,) = stock(model, tokenizer).generate_until([generations({"until": [], "max_gen_toks": 2})[0]], True)
    task, prompt = prompts()[0]
    asked = [
        Instance("loglikelihood", {}, (prompt, text), number, (task, number, 1))
        for number, text in enumerate((answer, answer + "x", "x" + answer))
    ]
    expected = stock(model, tokenizer).loglikelihood(asked, True)
    assert [likeliest for _, likeliest in ours(model, tokenizer).loglikelihood(asked)] == [
        likeliest for _, likeliest in expected
    ]
    assert expected[0][1] and not expected[2][1]


@pytest.mark.parametrize(
    "settings",
    [
        {"until": ["\n"], "do_sample": True, "temperature": 0.7, "max_gen_toks": 6},
        {"until": ["\n"], "num_beams": 2, "max_gen_toks": 6},
        {"until": ["\n"], "max_gen_toks": 6, "no_repeat_ngram_size": 1},
    ],
)
def test_generation_that_is_not_greedy_equals_stock_lm_eval(settings: dict[str, Any], tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer)
    answers = []
    for lm in (ours(model, tokenizer, 12), stock(model, tokenizer, 12)):
        torch.manual_seed(5)
        answers.append([lm.generate_until([request], True)[0] for request in generations(settings)])
    assert answers[0] == answers[1]
    assert answers[0] != ours(model, tokenizer).generate_until(generations({**GREEDY, "max_gen_toks": 6}))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 2},
        {"max_length": 30},
        {"repetition_penalty": 3.0},
        {"stop_strings": ["a", "e"]},
        {"do_sample": True, "temperature": 5.0, "top_k": 50},
        {"num_beams": 3},
        {"bad_words_ids": [[number] for number in range(5, 300)]},
        {"suppress_tokens": list(range(5, 300))},
        {"forced_eos_token_id": 7},
        {"min_new_tokens": 12},
        {"no_repeat_ngram_size": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["llama", *list(UNSUPPORTED)[:1]])
def test_generation_settings_that_come_with_a_model_change_no_answer(
    name: str, settings: dict[str, Any], tokenizer: Any
) -> None:
    table = SUPPORTED if name in SUPPORTED else UNSUPPORTED
    expected = stock(sized(table, name, tokenizer), tokenizer).generate_until(generations(GREEDY), True)
    model = sized(table, name, tokenizer)
    model.generation_config.update(**settings)
    lm = ours(model, tokenizer)
    assert lm.generate_until(generations(GREEDY)) == expected
    assert lm.notes == [f"the model's {name}={value} was set aside" for name, value in sorted(settings.items())]


def test_a_model_that_reads_padding_as_text_is_asked_one_prompt_at_a_time(tokenizer: Any) -> None:
    from transformers import RwkvConfig, RwkvForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2}
    model = RwkvForCausalLM(RwkvConfig(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    alone = HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=1)
    expected = alone.generate_until(generations(GREEDY), True)
    assert stock(model, tokenizer).generate_until(generations(GREEDY), True) != expected, "padding must matter"
    lm = ours(model, tokenizer)
    assert lm.generate_until(generations(GREEDY)) == expected
    assert lm.notes == ["padding changes what the model computes, so texts of unlike length are not read together"]


@pytest.mark.parametrize("name", [*UNSUPPORTED, "a context too short"])
def test_unsupported_models_and_too_long_requests_are_answered_by_stock_lm_eval(name: str, tokenizer: Any) -> None:
    if name in UNSUPPORTED:
        model = sized(UNSUPPORTED, name, tokenizer)
    else:
        model = sized(SUPPORTED, "llama", tokenizer, max_position_embeddings=40)
    lm, stock_lm = ours(model, tokenizer), stock(model, tokenizer)
    assert lm.generate_until(generations(GREEDY)) == stock_lm.generate_until(generations(GREEDY), True)
    expected = [number for number, _ in stock_lm.loglikelihood(likelihoods(), True)]
    assert [number for number, _ in lm.loglikelihood(likelihoods())] == pytest.approx(expected, rel=1e-5)


def test_rolling_likelihoods_are_those_of_stock_lm_eval(tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer, max_position_embeddings=40)
    asked = [
        Instance("loglikelihood_rolling", {}, (prompt,), number, (task, number, 1))
        for number, (task, prompt) in enumerate(prompts())
    ]
    answers = ours(model, tokenizer).loglikelihood_rolling(asked)
    assert answers == pytest.approx(stock(model, tokenizer).loglikelihood_rolling(asked, True))


def test_no_batch_has_more_tokens_than_the_largest_of_stock_lm_eval(tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer)
    tokens: list[int] = []  # of every forward pass

    def count(module: Any, args: Any, options: dict[str, Any]) -> None:
        rows, columns = options["input_ids"].shape
        tokens.append(rows * (columns + options["past_key_values"].get_seq_length()))

    lm = ours(model, tokenizer, batch_size=4)
    lm._reader  # noqa: B018  # its trial runs must not be counted
    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    longest = max(len(tokenizer(prompt)["input_ids"]) for _, prompt in prompts())
    lm.loglikelihood(likelihoods())
    choice = max(len(tokenizer(choice)["input_ids"]) for choice in CHOICES)
    assert longest < max(tokens) <= 4 * (longest + choice - 1)
    tokens.clear()
    lm.generate_until(generations(GREEDY))
    assert longest < max(tokens) <= 4 * (longest + 12)
    hook.remove()


@pytest.mark.parametrize("limited", ["CPU_TOKENS", "CPU_LOGIT_BYTES"])
@pytest.mark.parametrize(("table", "name"), [(SUPPORTED, "llama"), (UNSUPPORTED, "positions counted in another way")])
def test_a_batch_on_a_cpu_has_limited_tokens_and_logits_and_the_same_answers(
    table: dict[str, tuple[str, dict[str, Any]]],
    name: str,
    limited: str,
    tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = sized(table, name, tokenizer)
    long = [f"{SHOTS['born'] * 5}{context}" for context in ("", SHOTS["works"] * 3, SHOTS["born"] * 2)]
    asked = likelihoods()
    asked += [
        Instance("loglikelihood", {}, (text + "And?", choice), len(asked) + number, ("long", number, 1))
        for number, (text, choice) in enumerate((text, choice) for text in long for choice in CHOICES)
    ]
    texts = [
        Instance("loglikelihood_rolling", {}, (text,), number, ("t", number, 1)) for number, text in enumerate(long)
    ]
    kinds = {"loglikelihood": asked, "loglikelihood_rolling": texts, "generate_until": generations(GREEDY)}
    expected = {kind: getattr(stock(model, tokenizer), kind)(requests, True) for kind, requests in kinds.items()}
    seen: list[tuple[int, int]] = []  # tokens and bytes of logits of every forward pass

    def count(module: Any, args: Any, options: dict[str, Any], output: Any) -> None:
        ids = options["input_ids"] if "input_ids" in options else args[0]
        cache = options.get("past_key_values")
        before = cache.get_seq_length() - ids.shape[1] if cache is not None and name == "llama" else 0
        seen.append((len(ids) * (ids.shape[1] + before), output.logits.nbytes))

    lm = ours(model, tokenizer, batch_size=8)
    lm._reader  # noqa: B018  # its trial runs must not be counted
    longest = max(len(tokenizer(text)["input_ids"]) for text in long) + 20
    limit = 2 * longest if limited == "CPU_TOKENS" else longest * model.config.vocab_size * 4
    monkeypatch.setattr(batch_limits, limited, limit)
    hook = model.register_forward_hook(count, with_kwargs=True)
    for kind, requests in kinds.items():
        answers = getattr(lm, kind)(requests)
        if kind == "loglikelihood":
            assert [number for number, _ in answers] == pytest.approx([n for n, _ in expected[kind]], rel=1e-5)
            assert [likeliest for _, likeliest in answers] == [likeliest for _, likeliest in expected[kind]]
        else:
            assert answers == (pytest.approx(expected[kind], rel=1e-5) if "rolling" in kind else expected[kind])
        measured = [of_pass[limited == "CPU_LOGIT_BYTES"] for of_pass in seen]
        assert max(measured) <= limit, kind
        seen.clear()
    hook.remove()


def test_the_examples_of_a_task_are_read_once(tokenizer: Any) -> None:
    model = sized(SUPPORTED, "llama", tokenizer)
    lm = ours(model, tokenizer, batch_size=3)
    lm._reader  # noqa: B018
    shapes: list[tuple[int, ...]] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, options: shapes.append(tuple(options["input_ids"].shape)), with_kwargs=True
    )
    lm.generate_until(generations(GREEDY))
    hook.remove()
    shots = {len(tokenizer(text)["input_ids"]) for text in SHOTS.values()}
    assert sum(rows == 1 and columns >= min(shots) for rows, columns in shapes) == 2
    assert all(columns < min(shots) for rows, columns in shapes if rows > 1)
