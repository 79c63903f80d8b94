"""What scripts/released_code.py shows, against naive computations on a random model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from benchmark.data.texts import Text, TokenScores
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.encoding import unscored_tokens
from benchmark.tasks.biography import biography
from scripts import released_code

PEOPLE = biography.read_people()[:3]
TEXTS = [Text(person["id"], person["text"]) for person in PEOPLE]


@pytest.fixture(scope="module")
def spec(tiny: Path) -> ModelSpec:
    return ModelSpec(model=str(tiny))


def stored_attention(spec: ModelSpec, text: str) -> Any:
    """[n, n], the mean over layers and heads of the attention that transformers hands out."""
    model: Any = load_model(spec, "cpu")
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(torch.tensor([tokenizer_of(spec)(text)["input_ids"]]), output_attentions=True)
    return torch.stack(output.attentions).mean(dim=(0, 1, 2)).numpy()


def test_released_scores_are_row_sums_and_received_ones_column_means(spec: ModelSpec) -> None:
    found = released_code.scored(load_model(spec, "cpu"), tokenizer_of(spec), TEXTS, "")
    deviations = []
    for place, text in enumerate(TEXTS):
        matrix = stored_attention(spec, text.text)
        numbers = np.arange(1, len(matrix) + 1)
        assert found.released[place].score == pytest.approx(matrix.sum(axis=1) / numbers, rel=1e-5)
        assert found.received[place].score == pytest.approx(matrix.sum(axis=0) / numbers[::-1], rel=1e-5)
        deviations.append(np.abs(matrix.sum(axis=1) - 1).max())
    assert found.deviation < 1e-6 and max(deviations) < 1e-6


def test_the_deviation_is_told_where_a_score_is_not_one_over_its_position(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.scoring.attention import ReceivedAttention

    monkeypatch.setattr(ReceivedAttention, "scores", lambda self: torch.tensor([[1.0, 0.5, 0.5, 0.25]]))
    assert released_code._deviation(load_model(spec, "cpu"), [1, 2, 3, 4]) == pytest.approx(0.5)


def test_an_attention_row_goes_with_position_alone(spec: ModelSpec) -> None:
    found = released_code.scored(load_model(spec, "cpu"), tokenizer_of(spec), TEXTS, "")
    row = released_code.attention_row(found)
    assert row["rank correlation with position"] == pytest.approx(-1)
    naive = [spearmanr(-np.arange(len(one.score)), one.score).statistic for one in found.received]
    assert row["rank correlation with received attention"] == pytest.approx(np.mean(naive))


def scores(*values: float) -> list[TokenScores]:
    places = list(range(len(values)))
    return [TokenScores("a", ["x"] * len(values), places, [place + 1 for place in places], list(values))]


def test_a_difference_row_tells_size_zeros_and_correlations() -> None:
    large = released_code.Scored(scores(1.0, 0.5, 0.25, 0.125), scores(0.4, 0.1, 0.3, 0.2), 0)
    small = released_code.Scored(scores(1.0, 0.5, 0.5, 0.0), scores(0.0, 0.1, 0.1, 0.1), 0)
    row = released_code.difference_row(large, small)
    assert (row["mean size"], row["exactly 0"], row["texts where all are equal"]) == (0.09375, 0.5, 0)
    assert row["mean size, paper"] == pytest.approx(0.175)
    noise, true = [0, 0, -0.25, 0.125], [0.4, 0.0, 0.2, 0.1]
    assert row["rank correlation with the paper"] == pytest.approx(spearmanr(noise, true).statistic)
    assert row["rank correlation with position"] == pytest.approx(spearmanr(noise, range(4)).statistic)


def test_no_correlation_is_told_of_scores_that_are_all_equal() -> None:
    same = released_code.Scored(scores(1.0, 0.5), scores(0.4, 0.1), 0)
    row = released_code.difference_row(same, released_code.Scored(scores(1.0, 0.5), scores(0.2, 0.3), 0))
    assert (row["texts where all are equal"], row["rank correlation with the paper"]) == (1, None)


@pytest.mark.parametrize(("method", "kept"), [("random_dropout", 0.3), ("released_random", 0.7)])
def test_alpha_is_dropped_by_the_paper_and_kept_as_released(spec: ModelSpec, method: str, kept: float) -> None:
    row = released_code.kept_row(unscored_tokens(tokenizer_of(spec), TEXTS), TEXTS, method, 0.7, 20)
    assert row["tokens"] > 2000
    assert row["kept"] == pytest.approx(kept, abs=0.04)


def test_tokens_of_white_space_are_counted_over_all_training_texts(spec: ModelSpec) -> None:
    tokenizer = tokenizer_of(spec)
    text = [Text("a", "Ada met Bob")]
    every = [TokenScores("a", ["Ada", " met", " Bob"], [0, 3, 7], [3, 7, 11], [0.0, 0.0, 0.0])]
    # With alpha 1 all are dropped but the one that has to stay.
    row = released_code.blanks_row(tokenizer, every, text, "random_dropout", {"alpha": 1.0, "dropped": "blank"}, 2)
    made = [text[0].text, "Ada" + " " * 8, "Ada" + " " * 8]
    pieces = [piece for one in made for piece in tokenizer.tokenize(one)]
    assert row["tokens to train on"] == len(pieces)
    assert row["white space"] == pytest.approx(sum(not piece.strip("Ġ") for piece in pieces) / len(pieces))
    assert row["training texts"] == 3


def test_answers_longer_than_the_limit_are_counted_by_field(spec: ModelSpec) -> None:
    tokenizer = tokenizer_of(spec)
    rows = {row["field"]: row for row in released_code.answer_rows(tokenizer, PEOPLE, limit=3)}
    assert list(rows) == list(biography.FIELDS)
    lengths = [len(tokenizer.tokenize(" " + person["facts"]["birth_city"])) for person in PEOPLE]
    assert rows["birth_city"]["most"] == max(lengths)
    assert rows["birth_city"]["cut off"] == pytest.approx(sum(length > 3 for length in lengths) / 3)


def test_padding_that_a_model_is_told_of_changes_nothing_and_the_longest_prompt_never_changes(spec: ModelSpec) -> None:
    model, tokenizer = load_model(spec, "cpu"), tokenizer_of(spec)
    same = released_code.padding_row(model, tokenizer, ["Ada was born in Lagos."] * 3)
    assert same == {"prompts": 3, "padded": 0, "continuations changed": 0}
    prompts = ["Ada was born in Lagos.", "Bob."]
    told = released_code.padding_row(model, tokenizer, prompts)
    assert told["padded"] == 1

    def greedy(ids: list[int]) -> list[int]:
        """Ten tokens one by one, the whole text read anew for each."""
        made: list[int] = []
        with torch.no_grad():
            while len(made) < released_code.NEW_TOKENS:
                token = int(model(torch.tensor([ids + made])).logits[0, -1].argmax())
                if token == tokenizer.eos_token_id:
                    break
                made.append(token)
        return made

    long, short = (tokenizer(prompt)["input_ids"] for prompt in prompts)
    padded = [tokenizer.eos_token_id] * (len(long) - len(short)) + short
    assert told["continuations changed"] == int(greedy(padded) != greedy(short))


def test_ranks_share_their_mean_where_values_are_equal() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 4, 30).tolist(), rng.integers(0, 4, 30).tolist()
    assert released_code.rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert released_code.rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_the_script_prints_json_of_every_table(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"id": "a", "text": "Ada Moss was born in Lagos. She studied Botany."}\n', encoding="utf-8")
    given = [str(tiny), "--small-without", "1", "--texts", str(file), "--prompts", "2", "--copies", "2", "--json"]
    assert released_code.main(given) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(released_code.TITLES)
    assert [(row["model"], row["dtype"]) for row in found["attention"]] == [
        (model, dtype) for dtype in ("float32", "bfloat16") for model in ("large", "small")
    ]
    assert all(row["largest deviation from 1/(i+1)"] < 0.02 for row in found["attention"])
    assert all(row["mean size"] < 0.02 * row["mean size, paper"] for row in found["difference"])
    assert [row["method"] for row in found["blanks"]][-1] == "released_difference"


def test_a_model_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert released_code.main(["zoo:none"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") or "\nerror: " in error
    assert "zoo:none" in error
