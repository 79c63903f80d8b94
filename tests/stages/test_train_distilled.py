"""Training on a teacher's probabilities must equal a few plain lines of PyTorch on the same texts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from benchmark.core.files import file_hash
from benchmark.data.targets import Targets
from benchmark.data.texts import AugmentedText
from benchmark.methods.base import Training
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall
from benchmark.training import fit as fitting
from benchmark.training.examples import Example, soft_labels
from benchmark.training.objective import collate, soft_losses
from benchmark.training.order import data_order
from benchmark.training.packing import pack, pad_rows
from tests.stages.test_train_changes import assert_as_by_hand, report
from tests.tiny import biographies, train, train_call

STEPS, BATCH, RATE, TOP = 5, 4, 0.01, 6


def texts_of_many_lengths() -> list[AugmentedText]:
    return [AugmentedText(text.id, 1, text.text[: 40 + 30 * n]) for n, text in enumerate(biographies(7))]


def random_targets(model: Path, texts: list[AugmentedText]) -> list[tuple[tuple[str, int], Targets]]:
    """For each token of each text TOP different tokens with random log-probabilities that do not add up to 1."""
    tokenizer: Any = tokenizer_of(ModelSpec(model=str(model)))
    rng, made = np.random.default_rng(3), []
    for text in texts:
        n = len(tokenizer(text.text)["input_ids"])
        tokens = rng.random((n, len(tokenizer))).argsort(axis=1)[:, :TOP].astype(np.int32)
        log_probs = np.log(rng.dirichlet([1.0] * (TOP + 3), n)[:, :TOP]).astype(np.float32)
        made.append(((text.id, text.copy), Targets(tokens, log_probs)))
    return made


def plain_loop(
    folder: Path, texts: list[AugmentedText], targets: list[Targets], temperature: float, end: bool = True
) -> tuple[list[float], Any]:
    """Train text by text with AdamW, linear warm-up and decay, and clipping; returns losses and weights.

    The loss is −Σ p ln q of full distributions over the vocabulary, with p as the softmax of the kept logits.
    """
    spec = ModelSpec(model=str(folder))
    tokenizer, model = tokenizer_of(spec), load_model(spec, "cpu").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0)
    order, losses = data_order(len(texts), STEPS * BATCH, seed=1), []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (0 if step == 0 else (STEPS - step) / (STEPS - 1))
        of_tokens = []
        for number in order[step * BATCH : (step + 1) * BATCH]:
            ids = [*tokenizer(texts[number].text)["input_ids"], *([tokenizer.eos_token_id] if end else [])]
            logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
            p = torch.zeros_like(logits)
            for at in range(len(ids) - 1):
                kept = torch.tensor(targets[number].tokens[at]).long()
                weights = [float(np.exp(log / temperature)) for log in targets[number].log_probs[at]]
                p[at, kept] = torch.tensor(weights) / sum(weights)
            of_tokens.append(cross_entropy(logits, p, reduction="none"))
        loss = torch.cat(of_tokens).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def distilled(
    tiny: Path, out: Path, texts: list[AugmentedText], targets: list[tuple[tuple[str, int], Targets]], **changes: Any
) -> Path:
    training = {"loss": "distilled", "top": TOP, "temperature": changes.pop("temperature", 1.0)}
    recipe = {"learning_rate": RATE, "batch_size": BATCH, **changes.pop("recipe", {})}
    return train(train_call(tiny, budget={"steps": STEPS}, recipe=recipe, training=training), texts, out, targets)


@pytest.mark.parametrize("micro_batch", [4, 2, 1])
def test_the_distilled_loss_is_that_of_a_plain_loop_for_every_micro_batch(
    tiny: Path, tmp_path: Path, micro_batch: int
) -> None:
    texts = texts_of_many_lengths()
    targets = random_targets(tiny, texts)
    made = distilled(tiny, tmp_path, texts, targets[::-1], recipe={"micro_batch": micro_batch}, temperature=1.7)
    assert_as_by_hand(made, *plain_loop(tiny, texts, [row for _, row in targets], 1.7))
    (note,) = report(made)["notes"]
    held = np.concatenate([np.exp(row.log_probs).sum(axis=1) for _, row in targets]).mean()
    assert note == f"targets: the 6 likeliest tokens, {held:.1%} of the teacher's probability"


def test_padded_rows_train_as_shared_rows_do(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = texts_of_many_lengths()
    targets = random_targets(tiny, texts)
    monkeypatch.setattr(fitting, "supports_packing", lambda model: False)
    made = distilled(tiny, tmp_path, texts, targets)
    assert_as_by_hand(made, *plain_loop(tiny, texts, [row for _, row in targets], 1.0))


def test_without_an_end_token_the_last_target_is_not_used(tiny: Path, tmp_path: Path) -> None:
    texts = texts_of_many_lengths()
    targets = random_targets(tiny, texts)
    made = distilled(tiny, tmp_path, texts, targets, recipe={"append_end": False})
    assert_as_by_hand(made, *plain_loop(tiny, texts, [row for _, row in targets], 1.0, end=False))
    assert report(made)["loss_tokens"] == report(made)["tokens"] - STEPS * BATCH


def test_rehearsed_texts_have_their_own_tokens_as_targets(tiny: Path, tmp_path: Path) -> None:
    """With a teacher that is sure of each next token, the loss is that of the mean loss on all texts."""
    texts = texts_of_many_lengths()
    tokenizer: Any = tokenizer_of(ModelSpec(model=str(tiny)))
    sure = []
    for (key, _), text in zip(random_targets(tiny, texts), texts, strict=True):
        ids = [*tokenizer(text.text)["input_ids"], tokenizer.eos_token_id]
        sure.append((key, Targets(np.array(ids[1:], dtype=np.int32)[:, None], np.zeros((len(ids) - 1, 1), np.float32))))
    (tmp_path / "rest.jsonl").write_text('{"text": "Rain fell on the harbour of Bergen all day."}\n' * 3)
    rehearsal = {"share": 0.25, "source": str(tmp_path / "rest.jsonl")}
    first, second = (
        report(train(_rehearsing(tiny, rehearsal, training), texts, tmp_path / name, targets))
        for name, training, targets in (("a", {"loss": "distilled"}, sure), ("b", {}, None))
    )
    assert first["rehearsal_tokens"] == second["rehearsal_tokens"] > 0
    for loss in ("loss_first", "loss_last"):
        assert first[loss] == pytest.approx(second[loss], rel=1e-4)


def _rehearsing(tiny: Path, rehearsal: dict[str, Any], training: dict[str, Any]) -> StageCall:
    recipe = {"learning_rate": RATE, "batch_size": BATCH, "rehearsal": rehearsal}
    file = Path(rehearsal["source"])
    call = train_call(tiny, budget={"steps": STEPS}, recipe=recipe, training=training, rehearsal=file_hash(file))
    return replace(call, where={**call.where, "rehearsal": str(file)})


@pytest.mark.parametrize("wrong", ["missing", "short"])
def test_a_text_without_its_targets_is_not_trained_on(tiny: Path, tmp_path: Path, wrong: str) -> None:
    texts = texts_of_many_lengths()
    targets = random_targets(tiny, texts)
    key, last = targets.pop()
    if wrong == "short":
        targets.append((key, Targets(last.tokens[:-1], last.log_probs[:-1])))
    with pytest.raises(ValueError, match=f"text '{key[0]}' copy 1: no targets, or not those of its tokens"):
        distilled(tiny, tmp_path, texts, targets)


# --- gradients


def own_targets(model: Any, ids: list[int]) -> Targets:
    """What a model itself expects after each token: all tokens of the vocabulary with their log-probabilities."""
    with torch.no_grad():
        log_probs, tokens = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1).sort(descending=True)
    return Targets(tokens.int().numpy(), log_probs.numpy())


@pytest.mark.parametrize("arrange", [pack, pad_rows])
def test_a_student_that_expects_what_its_teacher_expects_has_no_gradient(
    tiny: Path, arrange: Callable[..., dict[str, torch.Tensor]]
) -> None:
    spec = ModelSpec(model=str(tiny))
    model, tokenizer = load_model(spec, "cpu").train(), tokenizer_of(spec)
    model.config.use_cache = False  # as in training: only then are texts in a row kept apart
    batch, entropies = [], []
    for text in texts_of_many_lengths():
        ids = tokenizer(text.text)["input_ids"]
        targets = own_targets(model, ids)
        soft = soft_labels(targets, ids, targets.tokens.shape[1], temperature=1.0)
        batch.append(Example(ids, ids, [1.0] * len(ids), soft))
        entropies += (-np.exp(targets.log_probs) * targets.log_probs).sum(axis=1)[:-1].tolist()
    columns = collate(batch, 0, arrange)
    read = {name: columns[name] for name in ("input_ids", "position_ids", "attention_mask") if name in columns}
    norms = []
    for hard in (False, True):
        model.zero_grad()
        logits = model(**read).logits
        losses = soft_losses(logits, columns["soft_tokens"], columns["probabilities"])
        if hard:
            losses = cross_entropy(logits[:, :-1].transpose(1, 2), columns["labels"][:, 1:], reduction="none")
        else:
            assert losses.sum().item() == pytest.approx(sum(entropies), rel=1e-5)
        (losses.sum() / columns["values"].sum()).backward()
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm().item())
    assert norms[0] < 1e-5 < 1e-1 < norms[1]


@pytest.mark.parametrize("arrange", [pack, pad_rows])
def test_soft_labels_stay_aligned_with_their_tokens(arrange: Callable[..., dict[str, torch.Tensor]]) -> None:
    lengths = [7, 20, 3, 9, 2, 11, 5, 8]
    batch = []
    for number, length in enumerate(lengths, start=1):
        ids = [1000 * number + k for k in range(length)]
        # After token k come token k + 1 and, with half its probability, a token that is 500 higher.
        tokens = np.array([[token + 1, token + 501] for token in ids], dtype=np.int32)
        log_probs = np.log(np.array([[0.4, 0.2]] * length, dtype=np.float32))
        batch.append(Example(ids, ids, [1.0] * length, soft_labels(Targets(tokens, log_probs), ids, 2, 1.0)))
    columns = collate(batch, 0, arrange)
    predicted = columns["labels"] != -100
    pair = torch.stack([columns["labels"], columns["labels"] + 500], dim=-1)
    assert_close(columns["soft_tokens"], torch.where(predicted[..., None], pair, 0))
    share = torch.tensor([2 / 3, 1 / 3]).expand(*predicted.shape, 2)
    assert_close(columns["probabilities"], torch.where(predicted[..., None], share, 0.0))
    assert int(predicted.sum()) == sum(lengths) - len(lengths)


def test_a_temperature_divides_the_logits_of_the_teacher() -> None:
    log_probs = np.log(np.array([[0.4, 0.1]] * 2, dtype=np.float32))
    targets = Targets(np.array([[3, 5]] * 2, dtype=np.int32), log_probs)
    # √.4 : √.1 is 2 : 1, and .4² : .1² is 16 : 1
    assert soft_labels(targets, [1, 2, 3], 2, 2.0).probabilities[1].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert soft_labels(targets, [1, 2, 3], 2, 0.5).probabilities[2].tolist() == pytest.approx([16 / 17, 1 / 17])


def test_settings_of_other_losses_enter_no_key() -> None:
    assert Training(loss="weighted").model_dump(exclude_defaults=True) == {"loss": "weighted"}
