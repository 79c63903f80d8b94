"""What a teacher expects must be what a plain forward pass of transformers on document and text gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch.testing import assert_close
from transformers import Gemma2Config, Gemma2ForCausalLM

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring import losses
from benchmark.scoring.teacher import TeacherPrompts, check_documents, teacher_targets
from tests.tiny import biographies

DOCUMENTS = {text.id: text.text for text in biographies(3)}
TEXTS = [
    AugmentedText(key, copy, f"Question: Who is number {copy}?\nAnswer: {content[: 30 * copy]}")
    for key, content in DOCUMENTS.items()
    for copy in (1, 2)
]


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    return tokenizer_of(ModelSpec(model=str(tiny)))


@pytest.fixture(scope="module")
def with_start(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer that puts two special tokens before every text."""
    made: Any = tokenizer_of(ModelSpec(model=str(tiny)))
    folder = tmp_path_factory.mktemp("with_start")
    made.save_pretrained(folder)
    fast: Any = type(made).from_pretrained(folder)
    fast.backend_tokenizer.post_processor = TemplateProcessing(
        single="<end> <end> $A", special_tokens=[("<end>", fast.eos_token_id)]
    )
    return fast


@pytest.fixture(scope="module")
def llama(tiny: Path) -> Any:
    return load_model(ModelSpec(model=str(tiny)), "cpu")


@pytest.fixture(scope="module")
def gemma(tokenizer: Any) -> Any:
    """A model that caps its logits after the head, with sliding windows shorter than the prompts."""
    torch.manual_seed(2)
    config: Any = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.5,
        sliding_window=16,
        final_logit_softcapping=3.0,
    )
    return Gemma2ForCausalLM(config).eval()


def by_hand(model: Any, tokenizer: Any, text: AugmentedText, special: int) -> torch.Tensor:
    """Log-probabilities (tokens of the text with its special tokens, vocabulary), from one text alone.

    The rows are those after each token: the student's tokens are special tokens and text, the teacher's have document
    and separator between them. The first token of the text is expected after the separator.
    """
    parts = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (DOCUMENTS[text.id], "\n\n", text.text)]
    ids = [tokenizer.eos_token_id] * special + parts[0] + parts[1] + parts[2]
    with torch.no_grad():
        log_probs: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
    start = len(ids) - len(parts[2])
    if not special:
        return log_probs[start:]
    return torch.cat([log_probs[: special - 1], log_probs[start - 1 :]])


@pytest.mark.parametrize("architecture", ["llama", "gemma"])
@pytest.mark.parametrize("special", [0, 2])
def test_targets_equal_a_plain_forward_pass_of_each_text_alone(
    architecture: str, special: int, tokenizer: Any, with_start: Any, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(architecture)
    used = with_start if special else tokenizer
    targets = teacher_targets(model, used, DOCUMENTS, TEXTS, top=7, tokens_per_batch=900)
    for text, made in zip(TEXTS, targets, strict=True):
        expected = by_hand(model, used, text, special)
        assert made.tokens.shape == made.log_probs.shape == (len(used(text.text)["input_ids"]), 7)
        log_probs = torch.from_numpy(made.log_probs)
        assert_close(log_probs, expected.topk(7).values, rtol=1e-4, atol=1e-4)
        assert_close(expected.gather(1, torch.from_numpy(made.tokens).long()), log_probs, rtol=1e-4, atol=1e-4)


def test_batches_and_blocks_of_logits_change_nothing_but_rounding(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = teacher_targets(llama, tokenizer, DOCUMENTS, TEXTS, 5, tokens_per_batch=1)
    monkeypatch.setattr(losses, "BLOCK", 1)
    for made, of_batch in zip(alone, teacher_targets(llama, tokenizer, DOCUMENTS, TEXTS, 5, 4096), strict=True):
        assert_close(torch.from_numpy(made.log_probs), torch.from_numpy(of_batch.log_probs), rtol=1e-5, atol=1e-5)


def test_the_same_batches_give_the_same_bytes(llama: Any, tokenizer: Any) -> None:
    first, again = (teacher_targets(llama, tokenizer, DOCUMENTS, TEXTS, 5, 900) for _ in range(2))
    assert [made.log_probs.tobytes() for made in first] == [made.log_probs.tobytes() for made in again]
    assert [made.tokens.tobytes() for made in first] == [made.tokens.tobytes() for made in again]


def test_no_more_tokens_are_kept_than_the_vocabulary_has(llama: Any, tokenizer: Any) -> None:
    size = llama.config.vocab_size
    (made,) = teacher_targets(llama, tokenizer, DOCUMENTS, TEXTS[:1], top=size + 9)
    assert made.tokens.shape[1] == size
    assert made.shares() == pytest.approx([1.0] * len(made.tokens), abs=1e-4)
    assert all(len(set(row)) == size for row in made.tokens.tolist())


def test_a_text_has_the_token_ids_that_it_has_alone(tokenizer: Any) -> None:
    text = AugmentedText(next(iter(DOCUMENTS)), 1, "born in Lagos")
    read = TeacherPrompts(tokenizer, DOCUMENTS, None).input_for(text)
    alone = tokenizer(text.text)["input_ids"]
    assert read.ids[-len(alone) :] == alone
    assert read.positions == list(range(len(read.ids) - len(alone), len(read.ids)))
    assert tokenizer.decode(read.ids) == f"{DOCUMENTS[text.id]}\n\n{text.text}"


def test_a_text_that_does_not_fit_after_its_document_is_refused_by_name(llama: Any, tokenizer: Any) -> None:
    key = next(iter(DOCUMENTS))
    texts = [TEXTS[0], AugmentedText(key, 3, "word " * 400)]
    with pytest.raises(UserError, match=f"^text '{key}' copy 3: [0-9]+ tokens with its document .* context of 512; "):
        teacher_targets(llama, tokenizer, DOCUMENTS, texts, 5)


def test_a_document_that_leaves_no_room_is_refused_by_name(tokenizer: Any) -> None:
    documents = {"short": "A text.", "long": "word " * 60}
    needed = len(tokenizer(documents["long"] + "\n\n")["input_ids"])
    check_documents(tokenizer, documents, needed + 2, "m")
    check_documents(tokenizer, documents, None, "m")
    with pytest.raises(UserError, match="^model 'm': text 'long': [0-9]+ tokens as a prompt") as error:
        check_documents(tokenizer, documents, needed - 2, "m")
    assert "\n" not in str(error.value)


def test_probabilities_that_are_not_numbers_are_refused(llama: Any, tokenizer: Any) -> None:
    weight = llama.lm_head.weight
    kept = weight.detach().clone()
    try:
        weight.data[3] = float("inf")
        with pytest.raises(UserError, match="its probabilities are not numbers; the model overflows"):
            teacher_targets(llama, tokenizer, DOCUMENTS, TEXTS[:1], 5)
    finally:
        weight.data.copy_(kept)
