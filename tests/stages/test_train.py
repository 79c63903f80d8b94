"""Training must equal a few plain lines of PyTorch, and give the same bytes every time."""

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.data.pieces import cut_into_pieces
from benchmark.data.texts import AugmentedText
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.training import fit as fitting
from benchmark.training import out_of_memory, packing
from benchmark.training.checkpoints import ResumeInfo
from benchmark.training.data import encode
from benchmark.training.order import data_order, steps_for, steps_for_tokens
from benchmark.training.packing import IGNORE, pack, pad_rows, supports_packing
from benchmark.training.recipe import Budget, Recipe
from tests.tiny import biographies, make_tiny_model, train, train_call

ROOT = Path(__file__).parents[2]
SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
    "pad_token_id": 0,
    "use_cache": False,
}
LAYERS = ["sliding_attention", "full_attention"]
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, sliding_window=5, attn_logit_softcapping=2.0)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, sliding_window=5, layer_types=LAYERS)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5)),
}


def batch_of_texts() -> list[list[int]]:
    """Texts of 2 to 20 tokens whose lengths leave room for several in a row."""
    generator = torch.Generator().manual_seed(3)
    lengths = (7, 20, 3, 9, 2, 11, 5, 8)
    return [torch.randint(1, 61, (length,), generator=generator).tolist() for length in lengths]


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return content


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    (file,) = (folder / "model").glob("*.safetensors")
    return load_file(file)


# --- texts in rows


@pytest.mark.parametrize("name", MODELS)
def test_texts_in_a_shared_row_get_the_same_logits_loss_and_gradients_as_alone(name: str) -> None:
    torch.manual_seed(1)
    model: Any = MODELS[name]().train()
    assert supports_packing(model)
    batch = batch_of_texts()
    rows, apart = pack(batch, 0), pad_rows(batch, 0)
    assert len(rows["input_ids"]) < len(batch)
    losses, gradients = [], []
    for inputs in (rows, apart):
        model.zero_grad()
        loss = model(**inputs).loss
        loss.backward()
        losses.append(loss.detach())
        gradients.append({key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None})
    assert_close(losses[0], losses[1])
    assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        packed = model(input_ids=rows["input_ids"], position_ids=rows["position_ids"]).logits
        for text in batch:
            ((row, at),) = occurrences(rows, text)
            alone = model(input_ids=torch.tensor([text])).logits[0]
            assert_close(packed[row, at : at + len(text)], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_long_texts_without_a_mask_get_the_same_loss_and_gradients_as_padded_ones(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    model: Any = MODELS[name]().train()
    batch = [text * 2 for text in batch_of_texts() if len(text) > 10]
    monkeypatch.setattr(packing, "MASK_FREE_LENGTH", 41)
    assert "position_ids" in pack(batch, 0), "shorter ones keep what they were trained with"
    monkeypatch.setattr(packing, "MASK_FREE_LENGTH", 40)
    assert "position_ids" in pack([*batch, [5, 6]], 0), "two that share a row must not see each other"
    results = []
    for inputs in (pack(batch, 0), pad_rows(batch, 0)):
        model.zero_grad()
        loss = model(**inputs).loss
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert pack(batch, 0).keys() == {"input_ids", "labels"}
    assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def occurrences(rows: dict[str, torch.Tensor], text: list[int]) -> list[tuple[int, int]]:
    """The rows and columns where a text begins."""
    results = []
    for row, (ids, positions) in enumerate(zip(rows["input_ids"].tolist(), rows["position_ids"].tolist(), strict=True)):
        for at in range(len(ids) - len(text) + 1):
            here = slice(at, at + len(text))
            if ids[here] == text and positions[here] == list(range(len(text))):
                results.append((row, at))
    return results


def test_every_token_is_in_one_row_and_no_label_crosses_into_another_text() -> None:
    batch = batch_of_texts()
    rows = pack(batch, 0)
    longest = max(map(len, batch))
    assert all(tensor.dtype == torch.long and tensor.shape[1] == longest for tensor in rows.values())
    expected_labels = torch.full_like(rows["input_ids"], IGNORE)
    taken = torch.zeros_like(rows["input_ids"])
    for text in batch:
        ((row, at),) = occurrences(rows, text)
        taken[row, at : at + len(text)] += 1
        expected_labels[row, at + 1 : at + len(text)] = torch.tensor(text[1:])
    assert taken.max() == 1 and taken.sum() == sum(map(len, batch))
    assert_close(rows["labels"], expected_labels)
    # The rest of a row is padding, and a text of its own, so that it attends to no other.
    assert rows["input_ids"][taken == 0].eq(0).all()


def test_a_single_text_and_texts_of_equal_length_need_no_padding() -> None:
    assert pack([[5, 6, 7]], 0)["input_ids"].tolist() == [[5, 6, 7]]
    rows = pack([[5, 6], [7, 8], [9, 5]], 0)
    assert rows["input_ids"].tolist() == [[5, 6], [7, 8], [9, 5]]
    assert rows["labels"].tolist() == [[IGNORE, 6], [IGNORE, 8], [IGNORE, 5]]


def test_a_model_with_a_running_state_gets_a_row_per_text() -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM, MambaConfig, MambaForCausalLM

    mamba = MambaConfig(vocab_size=61, hidden_size=16, num_hidden_layers=1, state_size=4, use_cache=False)
    hybrid = Lfm2Config(**{**SIZES, "layer_types": ["conv", "full_attention"]})
    for model in (MambaForCausalLM(mamba), Lfm2ForCausalLM(hybrid)):
        assert not supports_packing(model)


# --- one run against a plain loop


def plain_loop(model: Any, batches: list[list[list[int]]], recipe: Recipe) -> list[float]:
    """The same training by hand: text after text, AdamW, linear warm-up and decay, clipping by norm."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    steps, losses = len(batches), []
    warm_up = math.ceil(recipe.warmup_ratio * steps)
    for step, batch in enumerate(batches):
        factor = step / warm_up if step < warm_up else (steps - step) / (steps - warm_up)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        predicted = sum(len(text) - 1 for text in batch)
        loss = torch.zeros(())
        for text in batch:
            ids = torch.tensor([text])
            loss = loss + cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="sum") / predicted
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(train_call(tiny, budget={"steps": 6}), texts_of_many_lengths(), tmp_path_factory.mktemp("train"))


def texts_of_many_lengths() -> list[AugmentedText]:
    return [AugmentedText(t.id, 0, t.text[: 30 + 25 * i]) for i, t in enumerate(biographies(9))]


def test_a_run_gives_the_losses_and_weights_of_a_plain_loop(tiny: Path, trained: Path) -> None:
    recipe = Recipe(adaptation="full", learning_rate=0.01, batch_size=4)
    spec = ModelSpec(model=str(tiny))
    texts = texts_of_many_lengths()
    tokenizer = tokenizer_of(spec)
    sequences = [[*tokenizer(text.text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    order = data_order(9, 24, seed=1)
    batches = [[sequences[i] for i in order[at : at + 4]] for at in range(0, 24, 4)]
    model = load_model(spec, "cpu")
    losses = plain_loop(model, batches, recipe)
    made = report(trained)
    assert made["loss_first"] == pytest.approx(losses[0], rel=1e-4)
    assert made["loss_last"] == pytest.approx(losses[-1], rel=1e-3)
    assert losses[-1] < losses[0] - 0.5
    expected = model.state_dict()
    for key, value in weights(trained).items():
        assert_close(value, expected[key], rtol=1e-2, atol=1e-3)
    assert made["tokens"] == sum(len(text) for batch in batches for text in batch)
    assert (made["steps"], made["epochs"], made["texts"]) == (6, round(24 / 9, 4), 9)
    assert made["trainable_parameters"] == made["parameters"] == sum(p.numel() for p in model.parameters())
    assert made["notes"] == [] and not (trained / "trainer").exists()


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_a_training_of_a_single_step_changes_the_weights(tiny: Path, tmp_path: Path, schedule: str) -> None:
    recipe = {"adaptation": "full", "learning_rate": 1e-2, "schedule": schedule}
    out = train(train_call(tiny, budget={"steps": 1}, recipe=recipe), texts_of_many_lengths(), tmp_path)
    before, after = (
        load_model(ModelSpec(model=str(tiny)), "cpu"),
        load_model(ModelSpec(model=str(out / "model")), "cpu"),
    )
    changed = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert all(changed)


def test_a_smaller_micro_batch_changes_the_rounding_and_nothing_else(tiny: Path, trained: Path, tmp_path: Path) -> None:
    # The texts differ in length, so a mean over micro-batches would not be the mean over all tokens.
    small = train(train_call(tiny, budget={"steps": 6}, recipe={"micro_batch": 1}), texts_of_many_lengths(), tmp_path)
    whole, parts = report(trained), report(small)
    assert (whole.pop("micro_batch"), parts.pop("micro_batch")) == (4, 1)
    assert parts.pop("loss_last") == pytest.approx(whole.pop("loss_last"), rel=1e-3)
    assert parts.pop("loss_first") == pytest.approx(whole.pop("loss_first"), rel=1e-5)
    assert parts == whole
    for key, value in weights(small).items():
        assert_close(value, weights(trained)[key], rtol=1e-2, atol=1e-3)


def test_accumulation_gives_a_lora_run_the_same_losses(tiny: Path, tmp_path: Path) -> None:
    recipes = [{"adaptation": "lora", "lora_rank": 4, "micro_batch": size} for size in (4, 2)]
    whole, parts = (
        report(train(train_call(tiny, recipe=recipe), texts_of_many_lengths(), tmp_path / str(i)))
        for i, recipe in enumerate(recipes)
    )
    assert parts["loss_last"] == pytest.approx(whole["loss_last"], rel=1e-4)
    assert whole["loss_last"] != whole["loss_first"]


# --- budgets and order


def texts(people: int, copies: range) -> list[AugmentedText]:
    return [AugmentedText(str(person), copy, "…") for person in range(people) for copy in copies]


@pytest.mark.parametrize(
    ("budget", "method", "made", "steps"),
    [
        # 100 people with 10 copies each: an epoch over originals and copies is 1100 texts, 137.5 batches of 8.
        ({"steps": 400}, "random_dropout", texts(100, range(11)), 400),
        ({"steps": 400}, "plain_matched", texts(100, range(1)), 400),
        ({"steps": 400}, "plain", texts(100, range(1)), 37),  # 400 / 11 = 36.4
        ({"epochs": 20}, "random_dropout", texts(100, range(11)), 2750),
        ({"epochs": 20}, "plain_matched", texts(100, range(1)), 2750),
        ({"epochs": 20}, "plain", texts(100, range(1)), 250),  # 20 · 100 / 8
        # As released, without the originals; the number of steps is that of all matched methods.
        ({"epochs": 20}, "released_random", texts(100, range(1, 11)), 2750),
        ({"steps": 400}, "released_random", texts(100, range(1, 11)), 400),
        ({"epochs": 0.1}, "random_dropout", texts(8, range(11)), 2),  # 1.1 batches
        ({"epochs": 1.1}, "random_dropout", texts(80, range(11)), 121),  # 968.0000000000001 / 8
        ({"steps": 1}, "plain", texts(100, range(1)), 1),
    ],
)
def test_steps_are_those_counted_by_hand(
    budget: dict[str, Any], method: str, made: list[AugmentedText], steps: int
) -> None:
    assert steps_for(Budget.model_validate(budget), method, made, copies=10, batch=8) == steps


def test_every_epoch_reads_every_text_once_in_its_own_order() -> None:
    order = data_order(7, 17, seed=1)
    passes = [order[:7], order[7:14]]
    assert [sorted(one) for one in passes] == [list(range(7))] * 2
    assert len(order) == 17 and len(set(order[14:])) == 3
    assert passes[0] != passes[1]
    assert data_order(7, 21, seed=1)[:17] == order
    assert data_order(7, 17, seed=2) != order


def test_the_end_token_is_appended_once_and_only_if_the_recipe_says_so(tiny: Path) -> None:
    tokenizer = tokenizer_of(ModelSpec(model=str(tiny)))
    end = tokenizer.eos_token_id
    with_end, ended = encode(
        [AugmentedText("a", 0, "Ada Brown"), AugmentedText("b", 0, "Ada Brown<end>")], tokenizer, Recipe(), None
    )
    assert with_end == ended == [*tokenizer("Ada Brown")["input_ids"], end]
    (without,) = encode([AugmentedText("a", 0, "Ada Brown")], tokenizer, Recipe(append_end=False), None)
    assert without == with_end[:-1]


def test_encoding_in_batches_gives_the_same_ids_as_encoding_at_once(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizer_of(ModelSpec(model=str(tiny)))
    texts = [AugmentedText(str(n), 0, "Ada Brown " * n) for n in range(1, 6)]
    whole = encode(texts, tokenizer, Recipe(), None)
    assert [len(ids) for ids in whole] == sorted({len(ids) for ids in whole})
    monkeypatch.setattr("benchmark.training.data.TEXTS_AT_ONCE", 2)
    assert encode(texts, tokenizer, Recipe(), None) == whole


# --- LoRA


def test_the_adapter_is_one_that_stock_peft_loads(tiny: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    recipe = {"adaptation": "lora", "lora_rank": 4, "lora_alpha": 8}
    out = train(train_call(tiny, recipe=recipe), biographies(4), tmp_path)
    config = json.loads((out / "model" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["bias"], config["task_type"]) == (4, 8, "none", "CAUSAL_LM")

    base = AutoModelForCausalLM.from_pretrained(tiny)
    modules = {name for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)} - {"lm_head"}
    assert config["target_modules"] == sorted(modules)
    saved = weights(out)
    assert {key.removeprefix("base_model.model.").rsplit(".lora_", 1)[0] for key in saved} == modules
    assert report(out)["trainable_parameters"] == sum(value.numel() for value in saved.values())
    assert report(out)["parameters"] == sum(p.numel() for p in base.parameters())

    ids = torch.tensor([[5, 6, 7, 8]])
    before = base(ids).logits
    key = "model.layers.0.self_attn.q_proj"
    update = saved[f"base_model.model.{key}.lora_B.weight"] @ saved[f"base_model.model.{key}.lora_A.weight"]
    merged = base.get_parameter(f"{key}.weight") + 8 / 4 * update
    adapted = PeftModel.from_pretrained(base, out / "model")
    assert (adapted(ids).logits - before).abs().max() > 1e-3
    assert_close(adapted.merge_and_unload().get_parameter(f"{key}.weight"), merged)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_under_autocast_skipping_the_cast_to_float32_gives_equal_bits(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    call = train_call(tiny, recipe={"adaptation": "lora", "autocast": "bfloat16"})
    call = replace(call, where={"model": {"model": str(tiny), "dtype": dtype}})
    ours = weights(train(call, biographies(4), tmp_path / "ours"))
    cast = []

    @contextmanager
    def never(model: Any, active: bool) -> Iterator[None]:
        cast.append(active)
        yield

    monkeypatch.setattr("benchmark.training.fit.disable_input_dtype_casting", never)
    by_peft = weights(train(call, biographies(4), tmp_path / "by_peft"))
    assert cast == [True] and ours.keys() == by_peft.keys()
    assert all(torch.equal(ours[name], by_peft[name]) for name in ours)


# --- reproducibility


RUN_ONCE = """
import sys
from pathlib import Path
from tests.tiny import biographies, train, train_call
model, out = map(Path, sys.argv[1:3])
train(train_call(model, seed=int(sys.argv[3]), recipe={"adaptation": "lora"}), biographies(4), out)
"""


def run_once(model: Path, out: Path, seed: int, hash_seed: int) -> dict[str, bytes]:
    """Train in a process of its own; returns every file's content."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", RUN_ONCE, str(model), str(out), str(seed)], check=True, env=environment)
    return contents(out / "trained")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def lora_bytes(model: Path, out: Path, seed: int) -> dict[str, bytes]:
    return contents(train(train_call(model, seed=seed, recipe={"adaptation": "lora"}), biographies(4), out))


def test_another_run_gives_the_same_bytes_and_another_seed_others(tiny: Path, tmp_path: Path) -> None:
    first, again = (lora_bytes(tiny, tmp_path / name, 1) for name in ("a", "b"))
    assert set(first) == {"training.json", "model/adapter_config.json", "model/adapter_model.safetensors"}
    assert again == first
    adapter = "model/adapter_model.safetensors"
    assert lora_bytes(tiny, tmp_path / "c", 2)[adapter] != first[adapter]


@pytest.mark.slow
def test_processes_with_different_hash_seeds_give_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    here = lora_bytes(tiny, tmp_path / "here", 1)
    assert [run_once(tiny, tmp_path / str(seed), 1, hash_seed=seed) for seed in (1, 2)] == [here, here]


def test_the_adapter_does_not_depend_on_the_folder_of_the_model(tiny: Path, tmp_path: Path) -> None:
    elsewhere = make_tiny_model(tmp_path / "elsewhere" / "tiny")
    assert contents(elsewhere) == contents(tiny)
    assert lora_bytes(elsewhere, tmp_path / "a", 1) == lora_bytes(tiny, tmp_path / "b", 1)


def test_a_training_does_not_depend_on_what_ran_before_in_the_process(
    tiny: Path, trained: Path, tmp_path: Path
) -> None:
    torch.manual_seed(99)
    torch.rand(17)
    mixed = train_call(tiny, recipe={"autocast": "bfloat16"})
    train(mixed, biographies(4), tmp_path / "before")
    again = train(train_call(tiny, budget={"steps": 6}), texts_of_many_lengths(), tmp_path / "after")
    assert contents(again) == contents(trained)


# --- errors


def test_a_text_longer_than_the_context_is_named_and_not_cut(tiny: Path, tmp_path: Path) -> None:
    long = AugmentedText("person-7", 0, "word " * 600)
    with pytest.raises(UserError, match=r"^text 'person-7' copy 0: \d+ tokens, more than .* context of 512; [^\n]*$"):
        train(train_call(tiny), [*biographies(4), long], tmp_path)


def test_a_copy_longer_than_the_context_is_cut_at_sentence_ends_with_a_note(tiny: Path, tmp_path: Path) -> None:
    sentences = [person.text for person in biographies(20)]  # some 60 tokens each: all together need several pieces
    long = AugmentedText("person-7", 3, " ".join(sentences))
    out = train(train_call(tiny), [*biographies(4), long], tmp_path / "whole")
    count = report(out)["texts"] - 4
    assert count > 2
    assert report(out)["notes"] == ["1 copies longer than the model's context of 512 tokens cut into pieces"]
    tokenizer = tokenizer_of(ModelSpec(model=str(tiny)))
    pieces = cut_into_pieces(long.text, lambda text: len(tokenizer(text)["input_ids"]) < 512, "")
    assert len(pieces) == count and " ".join(pieces) == long.text and all(piece.endswith(".") for piece in pieces)
    given = [AugmentedText(f"piece-{number}", 1, piece) for number, piece in enumerate(pieces)]
    same = train(train_call(tiny), [*biographies(4), *given], tmp_path / "pieces")
    assert file_hash(out / "model" / "model.safetensors") == file_hash(same / "model" / "model.safetensors")


def test_a_text_of_a_single_token_is_left_out_with_a_note(tiny: Path, tmp_path: Path) -> None:
    call = train_call(tiny, recipe={"append_end": False})
    out = train(call, [*biographies(4), AugmentedText("x", 0, "!")], tmp_path)
    assert report(out)["texts"] == 4
    assert report(out)["notes"] == ["1 texts of a single token left out: they predict nothing"]


@pytest.mark.parametrize("bad_step", [1, 2, 3])
def test_a_loss_that_is_not_finite_ends_the_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad_step: int
) -> None:
    forward, calls = LlamaForCausalLM.forward, Counter[str]()

    def broken(self: Any, **inputs: Any) -> Any:
        output = forward(self, **inputs)
        if output.loss is not None:
            calls["loss"] += 1
            output.loss = output.loss * (math.nan if calls["loss"] == bad_step else 1)
        return output

    broken.__signature__ = __import__("inspect").signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(LlamaForCausalLM, "forward", broken)
    with pytest.raises(
        UserError, match=rf"^training: the loss of step {bad_step} is not a finite number; lower recipe"
    ):
        train(train_call(tiny), biographies(4), tmp_path)


def test_weights_that_are_not_finite_are_not_saved(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Trainer

    clip = Trainer._clip_grad_norm

    def spoil(self: Any, model: Any) -> Any:
        if self.state.global_step == 2:  # the last of three
            model.lm_head.weight.grad.fill_(math.nan)
        return clip(self, model)

    monkeypatch.setattr(Trainer, "_clip_grad_norm", spoil)
    with pytest.raises(UserError, match=r"^training: a weight is not a finite number"):
        train(train_call(tiny), biographies(4), tmp_path)


def test_when_memory_runs_out_the_micro_batch_is_halved_and_the_effective_batch_kept(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, tried = fitting.fit, []

    def first_time_too_much(model: Any, examples: Any, info: ResumeInfo, *rest: Any) -> list[float]:
        tried.append(info.micro_batch)
        if len(tried) == 1:
            fit(
                model, examples, info, *rest
            )  # changes weights and random state, which must not affect the next attempt
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fit(model, examples, info, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "fit", first_time_too_much)
        halved = train(train_call(tiny, recipe={"adaptation": "lora"}), biographies(4), tmp_path / "a")
    small = train(train_call(tiny, recipe={"adaptation": "lora", "micro_batch": 2}), biographies(4), tmp_path / "b")
    assert tried == [4, 2]
    halved_report = report(halved)
    assert halved_report.pop("notes") == ["out of memory: micro-batch lowered to 2, effective batch kept at 4"]
    assert halved_report == {key: value for key, value in report(small).items() if key != "notes"}
    assert (halved / "model/adapter_model.safetensors").read_bytes() == (
        small / "model/adapter_model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("batch", "named", "longest", "device", "expected"),
    [
        (8, None, 512, "cpu", 8),
        (8, None, 513, "cpu", 4),
        (6, None, 1000, "cpu", 3),  # a divisor of 6
        (8, None, 9000, "cpu", 1),
        (8, None, 3000, "cuda", 8),  # there torch says that memory ran out
        (8, 4, 3000, "cpu", 4),
    ],
)
def test_on_a_cpu_long_texts_lower_the_micro_batch_unless_it_is_named(
    batch: int, named: int | None, longest: int, device: str, expected: int
) -> None:
    recipe = Recipe(batch_size=batch, micro_batch=named)
    assert out_of_memory.first_micro_batch(recipe, longest, device) == expected


def test_a_training_on_long_texts_says_that_it_lowered_the_micro_batch(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = train(train_call(tiny, recipe={"adaptation": "lora", "micro_batch": 1}), biographies(4), tmp_path / "a")
    monkeypatch.setattr(out_of_memory, "CPU_TOKENS", 2)
    lowered = train(train_call(tiny, recipe={"adaptation": "lora"}), biographies(4), tmp_path / "b")
    found = report(lowered)
    (note,) = found.pop("notes")
    assert re.fullmatch(r"texts of up to \d+ tokens: micro-batch 1 on a CPU, effective batch 4", note)
    assert found == {key: value for key, value in report(named).items() if key != "notes"}
    assert (lowered / "model/adapter_model.safetensors").read_bytes() == (
        named / "model/adapter_model.safetensors"
    ).read_bytes()


def test_running_out_of_memory_with_a_micro_batch_of_one_is_a_user_error(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def never_enough(model: Any, examples: Any, info: ResumeInfo, *rest: Any) -> list[float]:
        tried.append(info.micro_batch)
        torch.empty(2**60)  # raises torch's own error
        raise AssertionError("a machine with an exabyte of memory")

    monkeypatch.setattr(fitting, "fit", never_enough)
    with pytest.raises(UserError, match=r"out of memory with one text at a time on cpu; use a smaller model"):
        train(train_call(tiny, recipe={"batch_size": 12}), biographies(4), tmp_path)
    assert tried == [12, 6, 3, 1]


def test_other_errors_of_torch_are_not_treated_as_out_of_memory(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> list[float]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(fitting, "fit", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        train(train_call(tiny), biographies(4), tmp_path)


def test_full_fine_tuning_of_low_precision_weights_is_refused(tiny: Path, tmp_path: Path) -> None:
    call = train_call(tiny)
    call.where["model"]["dtype"] = "bfloat16"
    with pytest.raises(UserError, match=r"full fine-tuning needs plain float32 weights; set recipe.adaptation: lora"):
        train(call, biographies(4), tmp_path)


@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=12), st.integers(1, 5), st.integers(1, 2000), st.integers(0, 5)
)
def test_a_budget_of_tokens_ends_with_the_step_that_reaches_it(
    lengths: list[int], batch: int, tokens: int, seed: int
) -> None:
    sequences = [[0] * length for length in lengths]
    steps = steps_for_tokens(tokens, sequences, lambda needed: data_order(len(lengths), needed, seed), batch)
    order = data_order(len(lengths), steps * batch, seed)
    read = [sum(lengths[i] for i in order[: step * batch]) for step in (steps - 1, steps)]
    assert read[0] < tokens <= read[1]


def test_a_training_reads_as_many_tokens_as_its_budget_says_and_plain_its_share(tiny: Path, tmp_path: Path) -> None:
    reports = {}
    for method, copies in (("plain_matched", 4), ("plain", 4)):
        call = train_call(tiny, budget={"tokens": 3000}, method=method, copies=copies)
        (tmp_path / method).mkdir()
        reports[method] = json.loads((train(call, biographies(5), tmp_path / method) / "training.json").read_text())
    step = max(reports["plain_matched"]["tokens"] / reports["plain_matched"]["steps"], 1) * 2
    assert 3000 <= reports["plain_matched"]["tokens"] < 3000 + step
    assert 3000 / 5 <= reports["plain"]["tokens"] < 3000 / 5 + step
