"""Perplexity and bits per byte must equal those of plain forward passes, window by window."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText
from benchmark.models.loading import load_model, load_tokenizer
from benchmark.models.spec import ModelSpec
from benchmark.scoring import perplexity
from benchmark.scoring.perplexity import measure_text
from tests.tiny import biographies, train, train_call

TEXT = "\n\n".join(text.text for text in biographies(10)) + "\n\nGröße, 東京 and 😀."


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return load_model(ModelSpec(model=str(tiny)), "cpu")


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    return load_tokenizer.__wrapped__(str(tiny))  # uncached, so that a test may change it


def naive(model: Any, ids: list[int], window: int) -> tuple[float, int]:
    """Mean loss and number of predicted tokens; each window goes through the model alone, with labels."""
    total, count = 0.0, 0
    for start in range(0, len(ids), window):
        piece = torch.tensor([ids[start : start + window]])
        if piece.shape[1] > 1:
            with torch.no_grad():
                loss = model(input_ids=piece, labels=piece).loss
            total += float(loss) * (piece.shape[1] - 1)
            count += piece.shape[1] - 1
    return total / count, count


@pytest.mark.parametrize("window", [7, 64, 512])
def test_perplexity_equals_that_of_windows_read_one_by_one(
    model: Any, tokenizer: Any, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perplexity, "BATCH", 300)  # several windows at once, of which the last batch has fewer
    ids = tokenizer(TEXT)["input_ids"]
    assert len(ids) > 512
    loss, count = naive(model, ids, window)
    measured = measure_text(model, tokenizer, TEXT, window)
    assert measured["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert (measured["tokens"], measured["context"]) == (count, window)


def test_bits_per_byte_count_the_bytes_of_predicted_tokens(model: Any, tokenizer: Any) -> None:
    """With one window all but the first token is predicted; its bytes are counted by hand."""
    text = "Größe 東京 😀 and more."
    first, *rest = tokenizer(text)["input_ids"]
    measured = measure_text(model, tokenizer, text, 512)
    assert measured["bytes"] == len(text.encode()) - len(tokenizer.decode([first]).encode())
    assert measured["tokens"] == len(rest)
    nats = math.log(measured["perplexity"]) * len(rest)
    assert measured["bits_per_byte"] == pytest.approx(nats / math.log(2) / measured["bytes"], rel=1e-6)


def test_only_the_first_token_of_a_window_has_its_bytes_left_out(model: Any, tokenizer: Any) -> None:
    text = "plain letters, a byte each"
    pieces = [tokenizer.decode([number]) for number in tokenizer(text)["input_ids"]]
    expected = sum(len(piece) for number, piece in enumerate(pieces) if number % 4)
    assert measure_text(model, tokenizer, text, 4)["bytes"] == expected


def test_a_special_token_before_texts_is_put_before_every_window(model: Any, tokenizer: Any) -> None:
    ids = tokenizer(TEXT)["input_ids"]
    special = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<end> $A", special_tokens=[("<end>", special)]
    )
    assert tokenizer(TEXT)["input_ids"] == [special, *ids]
    windows = [[special, *ids[start : start + 99]] for start in range(0, len(ids), 99)]
    losses = [naive(model, window, 100) for window in windows]
    assert sum(count for _, count in losses) == len(ids)
    mean = sum(loss * count for loss, count in losses) / len(ids)
    measured = measure_text(model, tokenizer, TEXT, 100)
    assert measured["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    assert (measured["tokens"], measured["bytes"]) == (len(ids), len(TEXT.encode()))


def test_only_the_first_tokens_are_used_if_a_limit_is_given(model: Any, tokenizer: Any) -> None:
    ids = tokenizer(TEXT)["input_ids"]
    loss, count = naive(model, ids[:50], 32)
    measured = measure_text(model, tokenizer, TEXT, 32, most=50)
    assert (measured["tokens"], count) == (48, 48)
    assert measured["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)


def test_a_text_shorter_than_a_window_is_one_shorter_window(model: Any, tokenizer: Any) -> None:
    loss, count = naive(model, tokenizer("A short text.")["input_ids"], 512)
    measured = measure_text(model, tokenizer, "A short text.", 512)
    assert measured["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert measured["tokens"] == count


def test_a_text_of_one_token_is_refused(model: Any, tokenizer: Any) -> None:
    assert len(tokenizer("a")["input_ids"]) == 1
    with pytest.raises(UserError, match=r"^its text is too short: no token is left to predict; give a longer one$"):
        measure_text(model, tokenizer, "a", 512)


def test_a_model_with_nan_weights_is_refused(tiny: Path, tokenizer: Any) -> None:
    model: Any = load_model(ModelSpec(model=str(tiny)), "cpu")
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite numbers"):
        measure_text(model, tokenizer, TEXT, 512)


def test_an_adapter_is_part_of_the_model(tiny: Path, tokenizer: Any, tmp_path: Path) -> None:
    from benchmark.models.loading import load_trained

    call = train_call(tiny, recipe={"adaptation": "lora", "learning_rate": 0.02}, budget={"steps": 5})
    folder = train(call, [AugmentedText("a", 0, "one two three four five")], tmp_path)
    adapted = load_trained(ModelSpec(model=str(tiny)), "cpu", folder / "model")
    loss, _ = naive(adapted, tokenizer(TEXT)["input_ids"], 128)
    plain, _ = naive(load_model(ModelSpec(model=str(tiny)), "cpu"), tokenizer(TEXT)["input_ids"], 128)
    assert abs(loss - plain) > 0.001
    assert measure_text(adapted, tokenizer, TEXT, 128)["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)


def small(kind: str) -> Any:
    """A random model of an architecture; most of these change the logits after their head."""
    import transformers

    shape: dict[str, Any] = {
        "vocab_size": 700,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.5,
    }
    extra: dict[str, dict[str, Any]] = {
        "Gemma2": {"head_dim": 8, "final_logit_softcapping": 2.0, "sliding_window": 16},
        "Granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0},
        "Cohere": {"logit_scale": 0.3},
        "Qwen3": {"head_dim": 8},
    }
    torch.manual_seed(0)
    if kind == "GPT2":
        return transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=700, n_embd=32, n_layer=2, n_head=4, n_positions=512)
        ).eval()
    if kind == "OPT":
        return transformers.OPTForCausalLM(
            transformers.OPTConfig(
                vocab_size=700, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4
            )
        ).eval()
    config = getattr(transformers, f"{kind}Config")(**shape, **extra[kind])
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


@pytest.mark.parametrize("kind", ["Gemma2", "Granite", "Cohere", "Qwen3", "GPT2", "OPT"])
def test_changes_to_the_logits_after_the_head_are_applied(kind: str, tokenizer: Any) -> None:
    model = small(kind)
    loss, _ = naive(model, tokenizer(TEXT)["input_ids"], 100)
    assert measure_text(model, tokenizer, TEXT, 100)["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    after, _ = naive(model, tokenizer(TEXT)["input_ids"], 100)
    assert after == loss, "the model must not change"


def test_progress_counts_windows_and_tokens(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perplexity, "BATCH", 64)
    reports: list[tuple[int, int, int]] = []
    measure_text(model, tokenizer, TEXT, 32, most=100, progress=lambda *steps: reports.append(steps))
    assert reports == [(2, 4, 64), (3, 4, 96), (4, 4, 100)]


def test_wikitext_is_measured(shared: Path, model: Any, tokenizer: Any) -> None:
    text = (shared / "data" / "wikitext2" / "test.txt").read_text(encoding="utf-8")[:20_000]
    loss, count = naive(model, tokenizer(text)["input_ids"], 512)
    measured = measure_text(model, tokenizer, text, 512)
    assert measured["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert measured["tokens"] == count
