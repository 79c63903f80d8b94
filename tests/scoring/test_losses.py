"""Losses must equal those of the logits that the whole model gives for each text alone."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from benchmark.core.errors import UserError
from benchmark.scoring.losses import TokenLosses

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.6,  # so that losses differ a lot
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    # Gemma 2 soft-caps its logits and Cohere scales them, both after the head.
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, final_logit_softcapping=3.0, sliding_window=7)),
    "cohere": lambda: CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.3)),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def padded() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(3, 97, (length,), generator=generator) for length in (23, 9, 1, 17)]
    pad = torch.nn.utils.rnn.pad_sequence
    return rows, pad(rows, batch_first=True), pad([torch.ones_like(row) for row in rows], batch_first=True)


def losses(model: Any, ids: torch.Tensor, mask: torch.Tensor | None, block: int) -> torch.Tensor:
    with torch.inference_mode(), TokenLosses(model, block) as reader:
        reader.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
        return reader.scores()


@pytest.mark.parametrize("block", [1, 97 * 5, 2**26])
def test_losses_in_a_padded_batch_equal_losses_of_each_text_alone(model: Any, block: int) -> None:
    rows, ids, mask = padded()
    for row, got in zip(rows, losses(model, ids, mask, block), strict=True):
        with torch.no_grad():
            logits = model(input_ids=row[None]).logits[0]
        expected = cross_entropy(logits[:-1], row[1:], reduction="none")
        assert_close(got[1 : len(row)], expected, atol=1e-5, rtol=1e-5)
        assert got[0] == 0 and not got[len(row) :].any()


def test_at_most_a_block_of_logits_is_computed_at_once(model: Any) -> None:
    rows: list[int] = []
    model.get_output_embeddings().register_forward_hook(lambda _, __, output: rows.append(output.shape[:-1].numel()))
    losses(model, padded()[1], padded()[2], block=97 * 5)
    assert sum(rows) == 22 + 8 + 0 + 16 and max(rows) == 5


def test_texts_of_one_token_have_no_loss(model: Any) -> None:
    assert losses(model, torch.tensor([[5], [7]]), None, 97).tolist() == [[0.0], [0.0]]


def test_losses_are_those_of_the_last_pass_and_the_hook_is_removed(model: Any) -> None:
    with torch.inference_mode(), TokenLosses(model) as reader:
        reader.decoder(input_ids=torch.tensor([[5, 6, 7, 8]]), use_cache=False)
        reader.scores()
        reader.decoder(input_ids=torch.tensor([[9, 8, 7]]), use_cache=False)
        scores = reader.scores()
    assert_close(scores, losses(model, torch.tensor([[9, 8, 7]]), None, 2**26))
    assert not reader.decoder._forward_hooks


def test_a_model_whose_forward_does_not_use_its_decoder_is_refused(model: Any) -> None:
    head = model.lm_head
    with TokenLosses(model) as reader, torch.inference_mode():
        reader.decoder(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
        model.forward = lambda input_ids, **_: SimpleNamespace(logits=head(model.get_input_embeddings()(input_ids)))
        try:
            with pytest.raises(UserError, match="its forward does not go through its decoder"):
                reader.scores()
        finally:
            del model.forward
