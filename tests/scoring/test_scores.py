"""Token scores of texts, and the contrast of two models whose tokenizers may differ."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmark.core.errors import UserError
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import Text, TokenScores
from benchmark.scoring.contrast import contrast
from benchmark.scoring.encoding import prefix_for, unscored_tokens
from benchmark.scoring.scores import attention_before, score_texts

TEXTS = [
    Text("short", "Ada Lovelace was born in London."),
    Text("long", "She wrote about the engine. " * 5 + "It was never built, but the notes were read by many."),
    Text("middle", "Alan Turing was born in London. He studied at Cambridge and wrote about machines."),
    Text("one", "Ada"),
]
fast: Any = PreTrainedTokenizerFast
EMOJI = Text("emoji", "born in 東京 🎉 and read")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A byte-level BPE tokenizer with a special token before every text and no padding token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([text.text for text in TEXTS], trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return fast(tokenizer_object=bpe, bos_token="<s>")


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**sizes(num_key_value_heads=2)))


def sizes(**more: Any) -> dict[str, Any]:
    small = {"vocab_size": 330, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    return {**small, "num_attention_heads": 4, "initializer_range": 0.4, "max_position_embeddings": 128, **more}


def by_hand(model: Any, ids: list[int]) -> list[float]:
    """The mean of every token's column in the matrices of transformers' eager attention."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        matrices = torch.cat(model(input_ids=torch.tensor([ids]), output_attentions=True).attentions)
    return [matrices[:, :, key:, key].mean().item() for key in range(len(ids))]


@pytest.mark.parametrize("budget", [1, 100, 4096])
def test_scores_do_not_depend_on_the_batch_size(model: Any, tokenizer: Any, budget: int) -> None:
    results = score_texts(model, tokenizer, TEXTS, tokens_per_batch=budget)
    assert [scores.id for scores in results] == ["short", "long", "middle", "one"]
    for text, result in zip(TEXTS, results, strict=True):
        row = tokenizer(text.text, return_offsets_mapping=True)
        spans = row["offset_mapping"][1:]
        assert list(zip(result.start, result.end, strict=True)) == spans
        assert result.token == [text.text[start:end] for start, end in spans]
        assert "".join(result.token) == text.text
        assert result.score == pytest.approx(by_hand(model, row["input_ids"])[1:], abs=1e-5)


def test_a_model_with_sliding_windows_has_the_scores_of_its_eager_attention(tokenizer: Any) -> None:
    layers = ["sliding_attention", "full_attention"]
    config = sizes(num_key_value_heads=2, head_dim=8, pad_token_id=0, layer_types=layers, sliding_window=8)
    model: Any = Gemma3ForCausalLM(Gemma3TextConfig(**config))
    for text, result in zip(TEXTS, score_texts(model, tokenizer, TEXTS), strict=True):
        assert result.score == pytest.approx(by_hand(model, tokenizer(text.text)["input_ids"])[1:], abs=1e-5)


def test_a_prefix_is_read_but_not_scored(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, TEXTS, prefix="Text: ")[2]
    row = tokenizer("Text: " + TEXTS[2].text, return_offsets_mapping=True)
    inside = [index for index, (_, end) in enumerate(row["offset_mapping"]) if end > len("Text: ")]
    scores = by_hand(model, row["input_ids"])
    assert result.score == pytest.approx([scores[index] for index in inside], abs=1e-5)
    assert "".join(result.token) == TEXTS[2].text


def test_a_token_that_spans_prefix_and_text_begins_with_the_text(model: Any, tokenizer: Any) -> None:
    assert (5, 9) in tokenizer("Text: was", return_offsets_mapping=True)["offset_mapping"]
    result = score_texts(model, tokenizer, [Text("a", "was")], prefix="Text: ")[0]
    assert (result.token, result.start, result.end) == (["was"], [0], [3])


def test_tokens_that_share_a_character_form_a_unit_with_their_mean_score(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, [EMOJI])[0]
    row = tokenizer(EMOJI.text, return_offsets_mapping=True)
    character = EMOJI.text.index("京")
    parts = [k for k, (start, end) in enumerate(row["offset_mapping"]) if start <= character < end]
    assert len(parts) == 3
    scores = by_hand(model, row["input_ids"])
    assert result.score[result.token.index("京")] == pytest.approx(sum(scores[k] for k in parts) / 3, abs=1e-5)
    assert "".join(result.token) == EMOJI.text


def test_tokens_of_gives_the_same_tokens_with_score_zero(model: Any, tokenizer: Any) -> None:
    texts = [*TEXTS, EMOJI]
    for bare, scored in zip(unscored_tokens(tokenizer, texts), score_texts(model, tokenizer, texts), strict=True):
        assert (bare.id, bare.token, bare.start, bare.end) == (scored.id, scored.token, scored.start, scored.end)
        assert not any(bare.score)


def test_scoring_is_repeatable_and_does_not_change_the_model(model: Any, tokenizer: Any) -> None:
    model.set_attn_implementation("sdpa")
    model.train()
    first, second = (score_texts(model, tokenizer, TEXTS) for _ in range(2))
    assert first == second
    assert model.config._attn_implementation == "sdpa"
    assert all(module.training for module in model.modules())
    model.eval()


def test_progress_counts_texts_and_tokens(model: Any, tokenizer: Any) -> None:
    reports: list[tuple[int, int, int]] = []
    score_texts(model, tokenizer, TEXTS, tokens_per_batch=1, progress=lambda *steps: reports.append(steps))
    assert [steps[:2] for steps in reports] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    lengths = sorted(len(tokenizer(text.text)["input_ids"]) for text in TEXTS)
    assert sorted(b - a for a, b in pairwise([0, *(tokens for _, _, tokens in reports)])) == lengths


def test_released_scores_fall_with_the_position(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, TEXTS, reduction="released")[0]
    assert result.score == pytest.approx([1 / (index + 2) for index in range(len(result.token))])


def losses_by_hand(model: Any, ids: list[int]) -> list[float]:
    """Every token's negative log-likelihood given the tokens before it; 0 for the first."""
    with torch.no_grad():
        likelihoods = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [0.0, *(-likelihoods[index, token].item() for index, token in enumerate(ids[1:]))]


@pytest.mark.parametrize("budget", [1, 100, 4096])
def test_losses_are_negative_log_likelihoods_for_every_batch_size(model: Any, tokenizer: Any, budget: int) -> None:
    for text, result in zip(TEXTS, score_texts(model, tokenizer, TEXTS, "loss", tokens_per_batch=budget), strict=True):
        ids = tokenizer(text.text)["input_ids"]
        assert result.score == pytest.approx(losses_by_hand(model, ids)[1:], abs=1e-5)
        assert "".join(result.token) == text.text


def test_the_prefix_is_context_of_a_loss(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, TEXTS, "loss", prefix="Text: ")[2]
    row = tokenizer("Text: " + TEXTS[2].text, return_offsets_mapping=True)
    inside = [index for index, (_, end) in enumerate(row["offset_mapping"]) if end > len("Text: ")]
    expected = losses_by_hand(model, row["input_ids"])
    assert result.score == pytest.approx([expected[index] for index in inside], abs=1e-5)


def test_losses_of_tokens_that_share_a_character_are_averaged(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, [EMOJI], "loss")[0]
    row = tokenizer(EMOJI.text, return_offsets_mapping=True)
    character = EMOJI.text.index("京")
    parts = [k for k, (start, end) in enumerate(row["offset_mapping"]) if start <= character < end]
    expected = losses_by_hand(model, row["input_ids"])
    assert len(parts) == 3
    mean = sum(expected[k] for k in parts) / 3
    assert result.score[result.token.index("京")] == pytest.approx(mean, abs=1e-5)


def test_a_first_token_without_context_has_loss_zero(model: Any, tokenizer: Any) -> None:
    bare = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    bare.post_processor = processors.ByteLevel(trim_offsets=False)
    plain_tokenizer = fast(tokenizer_object=bare, bos_token="<s>", eos_token="a")
    ids = plain_tokenizer(TEXTS[0].text)["input_ids"]
    result = score_texts(model, plain_tokenizer, TEXTS, "loss")[0]
    assert result.score[0] == 0.0
    assert result.score == pytest.approx(losses_by_hand(model, ids), abs=1e-5)
    # With a prefix, the first token of the text has context.
    ids = plain_tokenizer("Text: " + TEXTS[0].text)["input_ids"]
    result = score_texts(model, plain_tokenizer, TEXTS, "loss", prefix="Text: ")[0]
    assert result.score == pytest.approx(losses_by_hand(model, ids)[-len(result.score) :], abs=1e-5)


def test_scores_of_chosen_heads_come_from_their_attention_alone(model: Any, tokenizer: Any) -> None:
    part = AttentionPart(heads=((0, 3), (1, 0)))
    result = score_texts(model, tokenizer, TEXTS, part=part)[0]
    ids = tokenizer(TEXTS[0].text)["input_ids"]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        layers = model(input_ids=torch.tensor([ids]), output_attentions=True).attentions
    chosen = (layers[0][0, 3] + layers[1][0, 0]) / 2
    assert result.score == pytest.approx([chosen[k:, k].mean().item() for k in range(1, len(ids))], abs=1e-5)


@pytest.mark.parametrize("budget", [1, 4096])
def test_attention_before_a_character_is_that_of_the_last_token_before_it(
    model: Any, tokenizer: Any, budget: int
) -> None:
    characters = [[17, 26], [], [30], [0, 3]]  # before "born" and "London"; before and after "Ada"
    results = attention_before(model, tokenizer, TEXTS, characters, prefix="So ", tokens_per_batch=budget)
    model.set_attn_implementation("eager")
    assert results[1] == []
    assert results[3][0] is None
    for text, of_text, queries in zip(TEXTS, characters, results, strict=True):
        row = tokenizer("So " + text.text, return_offsets_mapping=True)
        with torch.no_grad():
            ids = torch.tensor([row["input_ids"]])
            matrices = torch.cat(model(input_ids=ids, output_attentions=True).attentions).mean(dim=(0, 1))
        within = [number for number, (_, end) in enumerate(row["offset_mapping"]) if end > 3]
        for character, attention in zip(of_text, queries, strict=True):
            if attention is None:
                continue
            query = max(n for n in within if row["offset_mapping"][n][1] - 3 <= character)
            assert attention.tokens.score == pytest.approx(matrices[query, within].tolist(), abs=1e-6)
            assert within[attention.query] == query
            assert not attention.first


def test_a_token_at_the_first_position_is_marked_and_white_space_is_never_the_query(model: Any) -> None:
    letters: dict[str, int] = {letter: number for number, letter in enumerate("abc ")}
    plain = Tokenizer(models.WordLevel(letters, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    ((attention,),) = attention_before(model, fast(tokenizer_object=plain), [Text("t", "ab  c")], [[4]])
    assert attention
    assert attention.first
    assert attention.tokens.token[attention.query] == "b"


def test_a_text_longer_than_the_context_is_refused_by_its_id(model: Any, tokenizer: Any) -> None:
    long = Text("much-too-long", "x" * 128)
    with pytest.raises(UserError, match=r"'much-too-long' has 129 tokens.* 128"):
        score_texts(model, tokenizer, [*TEXTS, long])
    fits = score_texts(model, tokenizer, [Text("fits", "x" * 127)])
    assert len(fits[0].token) == 127


def test_scores_that_are_not_finite_are_refused(tokenizer: Any) -> None:
    broken = LlamaForCausalLM(LlamaConfig(**sizes()))
    torch.nn.init.constant_(broken.model.layers[0].self_attn.q_proj.weight, float("nan"))
    with pytest.raises(UserError, match="text 'long': its scores are not finite"):
        score_texts(broken, tokenizer, TEXTS)


def test_a_tokenizer_without_offsets_is_refused_by_name(model: Any) -> None:
    class Slow:
        is_fast = False
        name_or_path = "some/tokenizer"

    slow: Any = Slow()
    with pytest.raises(UserError, match="some/tokenizer"):
        score_texts(model, slow, TEXTS)
    with pytest.raises(UserError, match="some/tokenizer"):
        unscored_tokens(slow, TEXTS)


def test_an_unknown_reduction_is_refused_with_the_nearest_name(model: Any, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="did you mean 'received'"):
        score_texts(model, tokenizer, TEXTS, reduction="recieved")


def test_a_text_without_a_token_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="text 'nothing' has no token"):
        unscored_tokens(tokenizer, [Text("nothing", "")])


def scores(text: str, cuts: list[int], values: list[float], name: str = "a") -> TokenScores:
    """Scores of the tokens of `text`, which is split at `cuts`."""
    spans = list(zip([0, *cuts], [*cuts, len(text)], strict=True))
    return TokenScores(name, [text[s:e] for s, e in spans], [s for s, _ in spans], [e for _, e in spans], values)


def test_the_contrast_of_equal_tokens_is_the_difference() -> None:
    large, small = scores("Ada wrote", [3], [0.3, 0.1]), scores("Ada wrote", [3], [0.1, 0.7])
    assert contrast([large], [small]) == [scores("Ada wrote", [3], [0.3 - 0.1, 0.1 - 0.7])]


def test_different_tokens_are_weighted_by_shared_characters() -> None:
    large = scores("abcdefgh", [4, 5], [1.0, 2.0, 3.0])
    small = scores("abcdefgh", [3, 6], [0.1, 0.4, 0.7])
    # abcd shares abc (.1) and a character of def (.4); e is in def; fgh shares a character of def, two of gh (.7).
    expected = [1.0 - (3 * 0.1 + 0.4) / 4, 2.0 - 0.4, 3.0 - (0.4 + 2 * 0.7) / 3]
    result = contrast([large], [small])[0]
    assert result.score == pytest.approx(expected, abs=1e-12)
    assert (result.token, result.start, result.end) == (large.token, large.start, large.end)


def test_the_score_of_a_single_counterpart_is_not_rounded() -> None:
    large = scores("abcdefg", [1, 4], [0.0, 0.0, 0.0])
    assert contrast([large], [scores("abcdefg", [], [0.1])])[0].score == [-0.1, -0.1, -0.1]


def test_tokens_that_share_a_character_have_equal_weights() -> None:
    large = TokenScores("a", ["🎉"], [0], [1], [1.0])
    small = TokenScores("a", ["🎉"] * 4, [0] * 4, [1] * 4, [0.1, 0.2, 0.3, 0.4])
    assert contrast([large], [small])[0].score == pytest.approx([0.75])


def test_white_space_without_a_counterpart_is_compared_with_the_next_token() -> None:
    large = scores("a b ", [1, 2, 3], [1.0, 1.0, 1.0, 1.0])
    small = TokenScores("a", ["a", "b"], [0, 2], [1, 3], [0.2, 0.5])
    assert contrast([large], [small])[0].score == [0.8, 0.5, 0.5, 0.5]


def test_a_token_without_a_counterpart_is_refused_with_its_characters() -> None:
    large = scores("ab cd", [2], [1.0, 1.0], name="t7")
    small = TokenScores("t7", ["ab"], [0], [2], [0.2])
    with pytest.raises(UserError, match="cannot be aligned on text 't7' at characters 2 to 5"):
        contrast([large], [small])


@pytest.mark.parametrize("names", [["a"], ["b", "a"], ["a", "b", "c"]])
def test_two_models_must_have_scored_the_same_texts(names: list[str]) -> None:
    def scored(names: list[str]) -> list[TokenScores]:
        return [scores("ab", [1], [0.0, 0.0], name=name) for name in names]

    with pytest.raises(UserError, match="same texts"):
        contrast(scored(["a", "b"]), scored(names))


def test_models_with_different_tokenizers_are_contrasted_on_the_large_models_tokens(model: Any, tokenizer: Any) -> None:
    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    letters.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    other = fast(tokenizer_object=letters)
    texts = [*TEXTS, EMOJI]
    large, small = score_texts(model, tokenizer, texts), score_texts(model, other, texts[2:3] + texts[4:])
    for of_large, of_small in zip([large[2], large[4]], small, strict=True):
        assert len(of_small.token) > len(of_large.token)
        letter = dict(zip(of_small.start, of_small.score, strict=True))
        spans = zip(of_large.start, of_large.end, of_large.score, strict=True)
        expected = [score - sum(letter[k] for k in range(s, e)) / (e - s) for s, e, score in spans]
        assert contrast([of_large], [of_small])[0].score == pytest.approx(expected, abs=1e-9)


# --- prefix "auto"


@pytest.mark.parametrize(
    ("special", "adds_one", "expected"),
    [
        ({"bos_token": "<s>"}, True, ""),  # the tokenizer adds a token itself
        ({"bos_token": "<s>", "eos_token": "</s>"}, False, "<s>"),
        ({"eos_token": "</s>"}, False, "</s>"),
        ({}, False, "Text: "),
    ],
)
def test_auto_chooses_a_prefix_if_the_tokenizer_adds_no_token(
    special: dict[str, str], adds_one: bool, expected: str
) -> None:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator([text.text for text in TEXTS], trainer)
    if adds_one:
        bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = fast(tokenizer_object=bpe, **special)
    assert prefix_for(tokenizer, "auto") == expected
    assert prefix_for(tokenizer, "So ") == "So " and prefix_for(tokenizer, "") == ""


def test_with_auto_no_token_of_the_text_is_at_the_first_position(model: Any, tokenizer: Any) -> None:
    """With a tokenizer that adds a token, "auto" changes nothing; with another, the end token comes first."""
    assert score_texts(model, tokenizer, TEXTS, prefix="auto") == score_texts(model, tokenizer, TEXTS)
    bare = fast(tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), eos_token="<s>")
    bare.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    with_auto, without = (score_texts(model, bare, TEXTS, prefix=prefix) for prefix in ("auto", ""))
    for text, scores_with, scores_without in zip(TEXTS, with_auto, without, strict=True):
        ids = [0, *bare(text.text, add_special_tokens=False)["input_ids"]]
        assert scores_with.score == pytest.approx(by_hand(model, ids)[1:], abs=1e-5)
        if len(scores_without.score) > 1:
            assert scores_with.score[0] < scores_without.score[0], "the first position draws attention"
