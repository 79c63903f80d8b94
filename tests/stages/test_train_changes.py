"""Changes to training by methods must equal a few plain lines of PyTorch on the same texts."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from benchmark.data.texts import AugmentedText
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.training import objective
from benchmark.training.objective import select
from benchmark.training.order import data_order
from tests.tiny import biographies, train, train_call

STEPS, BATCH, RATE = 5, 4, 0.01
# From the losses and the values of the tokens of each text of a batch to the loss of the step.
Loss = Callable[[list[torch.Tensor], list[list[float]]], torch.Tensor]


def valued_texts() -> list[AugmentedText]:
    """Texts of many lengths, with a value on most spans of one to nine characters and none on the others."""
    rng, texts = random.Random(5), []
    for number, text in enumerate(biographies(7)):
        content, at, values = text.text[: 40 + 30 * number], 0, []
        while at < len(content):
            end = min(len(content), at + rng.randint(1, 9))
            if rng.random() < 0.8:
                values.append((at, end, rng.uniform(0, 9)))
            at = end
        texts.append(AugmentedText(text.id, 0, content, tuple(values)))
    return texts


def with_values(texts: list[AugmentedText], value: float) -> list[AugmentedText]:
    return [AugmentedText(t.id, t.copy, t.text, ((0, len(t.text), value),)) for t in texts]


def without_values(texts: list[AugmentedText]) -> list[AugmentedText]:
    return [AugmentedText(t.id, t.copy, t.text) for t in texts]


def by_characters(text: AugmentedText, tokenizer: Any, otherwise: float) -> list[float]:
    """The mean value of each token over its characters that have one; `otherwise` for the end token."""
    of_character = {at: value for start, end, value in text.values for at in range(start, end)}
    found = []
    for start, end in tokenizer(text.text, return_offsets_mapping=True)["offset_mapping"]:
        values = [of_character[at] for at in range(start, end) if at in of_character]
        found.append(sum(values) / len(values) if values else otherwise)
    return [*found, otherwise]


def plain_loop(folder: Path, texts: list[AugmentedText], otherwise: float, loss_of: Loss) -> tuple[list[float], Any]:
    """Train text by text with AdamW, linear warm-up and decay, and clipping; returns losses and weights."""
    spec = ModelSpec(model=str(folder))
    tokenizer, model = tokenizer_of(spec), load_model(spec, "cpu").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0)
    order, losses = data_order(len(texts), STEPS * BATCH, seed=1), []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (0 if step == 0 else (STEPS - step) / (STEPS - 1))
        of_tokens, values = [], []
        for number in order[step * BATCH : (step + 1) * BATCH]:
            ids = torch.tensor([[*tokenizer(texts[number].text)["input_ids"], tokenizer.eos_token_id]])
            of_tokens.append(cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none"))
            values.append(by_characters(texts[number], tokenizer, otherwise)[1:])
        loss = loss_of(of_tokens, values)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def trained(tiny: Path, out: Path, texts: list[AugmentedText], micro_batch: int = BATCH, **changes: Any) -> Path:
    recipe = {"learning_rate": RATE, "batch_size": BATCH, "micro_batch": micro_batch}
    return train(train_call(tiny, budget={"steps": STEPS}, recipe=recipe, **changes), texts, out)


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "training.json").read_text())
    return content


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


def assert_as_by_hand(made: Path, losses: list[float], expected: dict[str, torch.Tensor]) -> None:
    assert report(made)["loss_first"] == pytest.approx(losses[0], rel=1e-4)
    assert report(made)["loss_last"] == pytest.approx(losses[-1], rel=1e-3)
    for key, value in weights(made).items():
        assert_close(value, expected[key], rtol=1e-2, atol=1e-3)


def same_training(first: Path, second: Path) -> None:
    for key in ("loss_first", "loss_last"):
        assert report(first)[key] == pytest.approx(report(second)[key], abs=2e-6, rel=1e-6)
    for key, value in weights(first).items():
        assert_close(value, weights(second)[key], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def plain(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tiny, tmp_path_factory.mktemp("plain"), without_values(valued_texts()))


# --- the weighted loss


@pytest.mark.parametrize("micro_batch", [4, 2, 1])
def test_the_weighted_loss_is_that_of_a_plain_loop_for_every_micro_batch(
    tiny: Path, tmp_path: Path, micro_batch: int
) -> None:
    def loss(losses: list[torch.Tensor], values: list[list[float]]) -> torch.Tensor:
        flat = torch.tensor([value for of_text in values for value in of_text])
        return (torch.cat(losses) * flat).sum() / flat.sum()

    made = trained(tiny, tmp_path, valued_texts(), micro_batch, training={"loss": "weighted"})
    assert_as_by_hand(made, *plain_loop(tiny, valued_texts(), 1.0, loss))


@pytest.mark.parametrize("texts", [without_values(valued_texts()), with_values(valued_texts(), 1.0)])
def test_equal_weights_or_none_train_like_the_mean_loss(
    tiny: Path, tmp_path: Path, plain: Path, texts: list[AugmentedText]
) -> None:
    same_training(trained(tiny, tmp_path, texts, training={"loss": "weighted"}), plain)


def test_tokens_of_weight_0_are_read_but_not_in_the_loss(tiny: Path, tmp_path: Path) -> None:
    """The first loss is the cross-entropy of the target's tokens alone, after the prompt; so is their number."""
    prompt, target = "Say it again:\n", "Ada studied Botany."
    content = prompt + target
    texts = [AugmentedText("a", 1, content, ((0, len(prompt), 0.0), (len(prompt), len(content), 1.0)))]
    made = trained(tiny, tmp_path, texts, training={"loss": "weighted"})
    tokenizer, model = tokenizer_of(ModelSpec(model=str(tiny))), load_model(ModelSpec(model=str(tiny)), "cpu")
    before, after = tokenizer(prompt)["input_ids"], [*tokenizer(target)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*before, *after]])).logits[0, len(before) - 1 : -1]
    expected = cross_entropy(logits, torch.tensor(after)).item()
    assert report(made)["loss_first"] == pytest.approx(expected, rel=1e-5)
    assert report(made)["loss_tokens"] == STEPS * BATCH * len(after)
    assert report(made)["tokens"] == STEPS * BATCH * (len(before) + len(after))


def test_a_weight_below_0_is_refused_with_its_text(tiny: Path, tmp_path: Path) -> None:
    texts = with_values(biographies(4), -0.5)
    with pytest.raises(ValueError, match=f"text '{texts[0].id}': a weight of the loss is below 0"):
        trained(tiny, tmp_path, texts, training={"loss": "weighted"})


# --- the loss on selected tokens


@pytest.mark.parametrize("micro_batch", [4, 2, 1])
def test_tokens_are_selected_over_the_effective_batch_for_every_micro_batch(
    tiny: Path, tmp_path: Path, micro_batch: int
) -> None:
    def loss(losses: list[torch.Tensor], values: list[list[float]]) -> torch.Tensor:
        flat = torch.cat(losses)
        pairs = zip(flat.tolist(), (value for of_text in values for value in of_text), strict=True)
        excess = [mine - reference for mine, reference in pairs]
        best = sorted(range(len(flat)), key=lambda position: -excess[position])[: math.ceil(0.6 * len(flat))]
        return flat[best].mean()

    made = trained(tiny, tmp_path, valued_texts(), micro_batch, training={"loss": "selected", "selected": 0.6})
    assert_as_by_hand(made, *plain_loop(tiny, valued_texts(), 0.0, loss))


def test_selecting_every_token_trains_like_the_mean_loss(tiny: Path, tmp_path: Path, plain: Path) -> None:
    same_training(trained(tiny, tmp_path, valued_texts(), training={"loss": "selected", "selected": 1.0}), plain)


def test_all_rehearsed_tokens_are_in_a_loss_on_selected_tokens_and_none_takes_the_place_of_another(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[tuple[int, int, int, int]] = []  # a step's tokens: corpus, selected of it, rehearsed, selected of it

    def spy(excess: list[torch.Tensor], share: float) -> list[torch.Tensor]:
        weights = select(excess, share)
        flat, weight = (torch.cat([part.flatten() for part in parts]) for parts in (excess, weights))
        corpus, rehearsed = flat.isfinite(), flat == math.inf
        counts = (part.sum() for part in (corpus, weight[corpus], rehearsed, weight[rehearsed]))
        chosen.append(tuple(int(count) for count in counts))  # type: ignore[arg-type]
        return weights

    monkeypatch.setattr(objective, "select", spy)
    recipe = {"learning_rate": RATE, "batch_size": BATCH, "rehearsal": {"share": 0.5}}
    changes = {"training": {"loss": "selected", "selected": 0.25}, "budget": {"steps": STEPS}}
    out = train(train_call(tiny, recipe=recipe, **changes), valued_texts(), tmp_path)
    assert len(chosen) == STEPS
    for corpus, of_corpus, rehearsed, of_rehearsed in chosen:
        assert of_corpus == math.ceil(0.25 * corpus) and of_rehearsed == rehearsed > 0
    corpus, _, rehearsed, _ = (sum(counts) for counts in zip(*chosen, strict=True))
    assert report(out)["loss_tokens"] == math.ceil(0.25 * corpus) + rehearsed


def test_tokens_are_selected_by_losses_without_noise(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[float]] = []

    def spy(excess: list[torch.Tensor], share: float) -> list[torch.Tensor]:
        seen.append(sorted(value for part in excess for value in part.flatten().tolist() if value > -math.inf))
        return select(excess, share)

    def loss(losses: list[torch.Tensor], values: list[list[float]]) -> torch.Tensor:
        by_hand.append(sorted(torch.cat(losses).tolist()))
        return torch.cat(losses).mean()

    by_hand: list[list[float]] = []
    monkeypatch.setattr(objective, "select", spy)
    texts = without_values(valued_texts())
    changes = {"loss": "selected", "selected": 0.5, "embedding_noise": 50.0}
    made = trained(tiny, tmp_path, texts, training=changes)
    plain_loop(tiny, texts, 0.0, loss)
    assert seen[0] == pytest.approx(by_hand[0], rel=1e-4, abs=1e-5)  # no update before the first step
    best = by_hand[0][len(by_hand[0]) // 2 :]
    assert abs(report(made)["loss_first"] - sum(best) / len(best)) > 1e-2  # the loss of the step itself has the noise


# --- replaced inputs


@pytest.mark.parametrize("replacement", ["random", "mask"])
def test_replaced_tokens_do_not_depend_on_the_micro_batch(
    tiny: Path, tmp_path: Path, plain: Path, replacement: str
) -> None:
    changes = {"replaced": [0.1, 0.5], "replacement": replacement}
    texts = without_values(valued_texts())
    whole, parts = (trained(tiny, tmp_path / str(size), texts, size, training=changes) for size in (4, 1))
    assert report(parts)["loss_last"] == pytest.approx(report(whole)["loss_last"], rel=1e-3)
    for key, value in weights(whole).items():
        assert_close(value, weights(parts)[key], rtol=1e-2, atol=1e-3)
    assert abs(report(whole)["loss_first"] - report(plain)["loss_first"]) > 1e-3


def test_another_seed_replaces_other_tokens(tiny: Path, tmp_path: Path) -> None:
    """With one text and no update before the first loss, only the replaced tokens can differ."""
    changes = {"replaced": [0.3, 0.3], "replacement": "random"}
    text = without_values(valued_texts()[-1:])
    first, again, other = (
        report(trained(tiny, tmp_path / str(position), text, training=changes, seed=seed))["loss_first"]
        for position, seed in enumerate((1, 1, 2))
    )
    assert first == again != other


def test_a_note_names_the_mask_token(tiny: Path, tmp_path: Path, plain: Path) -> None:
    changes = {"replaced": [0.0, 0.15], "replacement": "mask"}
    made = trained(tiny, tmp_path, biographies(4), training=changes)
    assert report(made)["notes"] == ["masked: '<end>', the tokenizer's eos token"]
    assert report(plain)["notes"] == []


def test_the_loss_of_masked_texts_is_that_of_the_original_tokens(tiny: Path, tmp_path: Path) -> None:
    """With every token but the first masked, one forward pass gives the first loss."""
    texts = without_values(valued_texts()[2:3])
    made = trained(tiny, tmp_path, texts, training={"replaced": [1.0, 1.0], "replacement": "mask"})
    tokenizer, model = tokenizer_of(ModelSpec(model=str(tiny))), load_model(ModelSpec(model=str(tiny)), "cpu")
    ids = [*tokenizer(texts[0].text)["input_ids"], tokenizer.eos_token_id]
    inputs = torch.tensor([[ids[0], *[tokenizer.eos_token_id] * (len(ids) - 1)]])
    with torch.no_grad():
        expected = cross_entropy(model(input_ids=inputs).logits[0, :-1], torch.tensor(ids[1:])).item()
    assert report(made)["loss_first"] == pytest.approx(expected, rel=1e-5)


# --- hidden inputs


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_the_loss_of_hidden_texts_is_that_of_the_whole_text_with_masks_in_the_input(
    tiny: Path, tmp_path: Path, micro_batch: int
) -> None:
    """Masked are tokens that share a character with a span; the first token and the end token stay."""
    content = valued_texts()[2].text
    spans = ((0, 4), (9, 10), (10, 31), (len(content) - 2, len(content)))
    text = AugmentedText("a", 1, content, hidden=spans)
    made = trained(tiny, tmp_path, [text], micro_batch, training={"hidden": True})
    tokenizer, model = tokenizer_of(ModelSpec(model=str(tiny))), load_model(ModelSpec(model=str(tiny)), "cpu")
    encoded = tokenizer(content, return_offsets_mapping=True)
    hidden = {at for start, end in spans for at in range(start, end)}
    labels = [*encoded["input_ids"], tokenizer.eos_token_id]
    inputs = list(labels)
    for index, (start, end) in enumerate(encoded["offset_mapping"]):
        if index > 0 and hidden & set(range(start, end)):
            inputs[index] = tokenizer.eos_token_id
    assert 4 < sum(mine != own for mine, own in zip(inputs, labels, strict=True)) < len(labels) - 4
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([inputs])).logits[0, :-1]
    expected = cross_entropy(logits, torch.tensor(labels[1:])).item()
    assert report(made)["loss_first"] == pytest.approx(expected, rel=1e-5)
    assert report(made)["notes"] == ["masked: '<end>', the tokenizer's eos token"]
    assert report(made)["loss_tokens"] == STEPS * BATCH * (len(labels) - 1)


def test_texts_without_hidden_spans_train_like_those_of_other_methods(tiny: Path, tmp_path: Path, plain: Path) -> None:
    made = trained(tiny, tmp_path, without_values(valued_texts()), training={"hidden": True})
    assert weights(made).keys() == weights(plain).keys()
    same_training(made, plain)


# --- noise on embeddings


def test_noise_on_embeddings_is_drawn_from_the_seed_and_vanishes_with_alpha(
    tiny: Path, tmp_path: Path, plain: Path
) -> None:
    texts = without_values(valued_texts())
    loud, again, faint = (
        trained(tiny, tmp_path / str(position), texts, training={"embedding_noise": alpha})
        for position, alpha in enumerate((5.0, 5.0, 1e-9))
    )
    assert (loud / "model/model.safetensors").read_bytes() == (again / "model/model.safetensors").read_bytes()
    assert abs(report(loud)["loss_first"] - report(plain)["loss_first"]) > 1e-3
    same_training(faint, plain)
