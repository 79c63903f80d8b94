"""Token scores: from text to spans and scores, and the contrast of two models that cut the text differently."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmark.core.errors import UserError
from benchmark.data.attention import AttentionPart
from benchmark.data.texts import Text, TokenScores
from benchmark.scoring.scores import contrast, looks_before, prefix_for, score_texts, tokens_of

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
    """A byte-level BPE with a token at the text's beginning and no padding token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([one.text for one in TEXTS], trainer)
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
    """Every token's column mean in the attention matrices that transformers' eager attention hands out."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        matrices = torch.cat(model(input_ids=torch.tensor([ids]), output_attentions=True).attentions)
    return [matrices[:, :, key:, key].mean().item() for key in range(len(ids))]


@pytest.mark.parametrize("budget", [1, 100, 4096])
def test_every_token_gets_its_score_in_whatever_batch(model: Any, tokenizer: Any, budget: int) -> None:
    results = score_texts(model, tokenizer, TEXTS, tokens_per_batch=budget)
    assert [one.id for one in results] == ["short", "long", "middle", "one"]
    for text, result in zip(TEXTS, results, strict=True):
        row = tokenizer(text.text, return_offsets_mapping=True)
        spans = row["offset_mapping"][1:]
        assert list(zip(result.start, result.end, strict=True)) == spans
        assert result.token == [text.text[start:end] for start, end in spans]
        assert "".join(result.token) == text.text
        assert result.score == pytest.approx(by_hand(model, row["input_ids"])[1:], abs=1e-5)


def test_a_model_with_sliding_windows_scores_as_its_eager_attention(tokenizer: Any) -> None:
    layers = ["sliding_attention", "full_attention"]
    config = sizes(num_key_value_heads=2, head_dim=8, pad_token_id=0, layer_types=layers, sliding_window=8)
    model: Any = Gemma3ForCausalLM(Gemma3TextConfig(**config))
    for text, result in zip(TEXTS, score_texts(model, tokenizer, TEXTS), strict=True):
        assert result.score == pytest.approx(by_hand(model, tokenizer(text.text)["input_ids"])[1:], abs=1e-5)


def test_a_prefix_is_read_but_not_scored(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, TEXTS, prefix="Text: ")[2]
    row = tokenizer("Text: " + TEXTS[2].text, return_offsets_mapping=True)
    inside = [place for place, (_, end) in enumerate(row["offset_mapping"]) if end > len("Text: ")]
    scores = by_hand(model, row["input_ids"])
    assert result.score == pytest.approx([scores[place] for place in inside], abs=1e-5)
    assert "".join(result.token) == TEXTS[2].text


def test_a_token_that_reaches_out_of_the_prefix_begins_with_the_text(model: Any, tokenizer: Any) -> None:
    assert (5, 9) in tokenizer("Text: was", return_offsets_mapping=True)["offset_mapping"]
    result = score_texts(model, tokenizer, [Text("a", "was")], prefix="Text: ")[0]
    assert (result.token, result.start, result.end) == (["was"], [0], [3])


def test_tokens_that_share_a_character_are_one_entry_with_their_mean_score(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, [EMOJI])[0]
    row = tokenizer(EMOJI.text, return_offsets_mapping=True)
    place = EMOJI.text.index("京")
    parts = [k for k, (start, end) in enumerate(row["offset_mapping"]) if start <= place < end]
    assert len(parts) == 3
    scores = by_hand(model, row["input_ids"])
    assert result.score[result.token.index("京")] == pytest.approx(sum(scores[k] for k in parts) / 3, abs=1e-5)
    assert "".join(result.token) == EMOJI.text


def test_tokens_of_gives_the_same_tokens_with_score_zero(model: Any, tokenizer: Any) -> None:
    texts = [*TEXTS, EMOJI]
    for bare, scored in zip(tokens_of(tokenizer, texts), score_texts(model, tokenizer, texts), strict=True):
        assert (bare.id, bare.token, bare.start, bare.end) == (scored.id, scored.token, scored.start, scored.end)
        assert not any(bare.score)


def test_scoring_twice_gives_the_same_numbers_and_leaves_the_model_as_it_was(model: Any, tokenizer: Any) -> None:
    model.set_attn_implementation("sdpa")
    model.train()
    once, again = (score_texts(model, tokenizer, TEXTS) for _ in range(2))
    assert once == again
    assert model.config._attn_implementation == "sdpa"
    assert all(part.training for part in model.modules())
    model.eval()


def test_progress_ends_with_all_texts(model: Any, tokenizer: Any) -> None:
    seen: list[tuple[int, int, int]] = []
    score_texts(model, tokenizer, TEXTS, tokens_per_batch=1, progress=lambda *steps: seen.append(steps))
    assert [steps[:2] for steps in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    lengths = sorted(len(tokenizer(text.text)["input_ids"]) for text in TEXTS)
    assert sorted(b - a for a, b in pairwise([0, *(tokens for _, _, tokens in seen)])) == lengths


def test_released_scores_fall_with_the_position(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, TEXTS, reduction="released")[0]
    assert result.score == pytest.approx([1 / (place + 2) for place in range(len(result.token))])


def losses_by_hand(model: Any, ids: list[int]) -> list[float]:
    """Every token's negative log-likelihood given those before it; the first has none."""
    with torch.no_grad():
        chances = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [0.0, *(-chances[place, token].item() for place, token in enumerate(ids[1:]))]


@pytest.mark.parametrize("budget", [1, 100, 4096])
def test_a_loss_is_the_negative_log_likelihood_in_whatever_batch(model: Any, tokenizer: Any, budget: int) -> None:
    for text, result in zip(TEXTS, score_texts(model, tokenizer, TEXTS, "loss", tokens_per_batch=budget), strict=True):
        ids = tokenizer(text.text)["input_ids"]
        assert result.score == pytest.approx(losses_by_hand(model, ids)[1:], abs=1e-5)
        assert "".join(result.token) == text.text


def test_the_prefix_counts_as_context_of_a_loss(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, TEXTS, "loss", prefix="Text: ")[2]
    row = tokenizer("Text: " + TEXTS[2].text, return_offsets_mapping=True)
    inside = [place for place, (_, end) in enumerate(row["offset_mapping"]) if end > len("Text: ")]
    expected = losses_by_hand(model, row["input_ids"])
    assert result.score == pytest.approx([expected[place] for place in inside], abs=1e-5)


def test_losses_of_tokens_that_share_a_character_are_averaged(model: Any, tokenizer: Any) -> None:
    result = score_texts(model, tokenizer, [EMOJI], "loss")[0]
    row = tokenizer(EMOJI.text, return_offsets_mapping=True)
    place = EMOJI.text.index("京")
    parts = [k for k, (start, end) in enumerate(row["offset_mapping"]) if start <= place < end]
    expected = losses_by_hand(model, row["input_ids"])
    assert len(parts) == 3
    mean = sum(expected[k] for k in parts) / 3
    assert result.score[result.token.index("京")] == pytest.approx(mean, abs=1e-5)


def test_a_first_token_that_nothing_stands_before_has_no_loss(model: Any, tokenizer: Any) -> None:
    bare = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    bare.post_processor = processors.ByteLevel(trim_offsets=False)
    nothing_before = fast(tokenizer_object=bare, bos_token="<s>", eos_token="a")
    ids = nothing_before(TEXTS[0].text)["input_ids"]
    result = score_texts(model, nothing_before, TEXTS, "loss")[0]
    assert result.score[0] == 0.0
    assert result.score == pytest.approx(losses_by_hand(model, ids), abs=1e-5)
    # With a prefix the first token of the text has something before it.
    ids = nothing_before("Text: " + TEXTS[0].text)["input_ids"]
    result = score_texts(model, nothing_before, TEXTS, "loss", prefix="Text: ")[0]
    assert result.score == pytest.approx(losses_by_hand(model, ids)[-len(result.score) :], abs=1e-5)


def test_scores_of_chosen_heads_are_those_of_their_attention_alone(model: Any, tokenizer: Any) -> None:
    part = AttentionPart(heads=((0, 3), (1, 0)))
    result = score_texts(model, tokenizer, TEXTS, part=part)[0]
    ids = tokenizer(TEXTS[0].text)["input_ids"]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        layers = model(input_ids=torch.tensor([ids]), output_attentions=True).attentions
    chosen = (layers[0][0, 3] + layers[1][0, 0]) / 2
    assert result.score == pytest.approx([chosen[k:, k].mean().item() for k in range(1, len(ids))], abs=1e-5)


@pytest.mark.parametrize("budget", [1, 4096])
def test_looks_are_the_rows_of_the_last_token_before_each_place(model: Any, tokenizer: Any, budget: int) -> None:
    places = [[17, 26], [], [30], [0, 3]]  # before "born", before "London"; of "Ada" before and behind it
    looks = looks_before(model, tokenizer, TEXTS, places, prefix="So ", tokens_per_batch=budget)
    model.set_attn_implementation("eager")
    assert looks[1] == []
    assert looks[3][0] is None
    for text, some, found in zip(TEXTS, places, looks, strict=True):
        row = tokenizer("So " + text.text, return_offsets_mapping=True)
        with torch.no_grad():
            ids = torch.tensor([row["input_ids"]])
            matrices = torch.cat(model(input_ids=ids, output_attentions=True).attentions).mean(dim=(0, 1))
        within = [number for number, (_, end) in enumerate(row["offset_mapping"]) if end > 3]
        for place, look in zip(some, found, strict=True):
            if look is None:
                continue
            query = max(n for n in within if row["offset_mapping"][n][1] - 3 <= place)
            assert look.tokens.score == pytest.approx(matrices[query, within].tolist(), abs=1e-6)
            assert within[look.query] == query
            assert not look.first


def test_without_a_token_in_front_the_first_one_is_told_and_white_space_asks_nothing(model: Any) -> None:
    letters: dict[str, int] = {letter: number for number, letter in enumerate("abc ")}
    plain = Tokenizer(models.WordLevel(letters, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    ((look,),) = looks_before(model, fast(tokenizer_object=plain), [Text("t", "ab  c")], [[4]])
    assert look
    assert look.first
    assert look.tokens.token[look.query] == "b"


def test_a_text_longer_than_the_context_is_told_with_its_id(model: Any, tokenizer: Any) -> None:
    long = Text("much-too-long", "x" * 128)
    with pytest.raises(UserError, match=r"'much-too-long' has 129 tokens.* 128"):
        score_texts(model, tokenizer, [*TEXTS, long])
    fits = score_texts(model, tokenizer, [Text("fits", "x" * 127)])
    assert len(fits[0].token) == 127


def test_scores_that_are_not_numbers_are_refused(tokenizer: Any) -> None:
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
        tokens_of(slow, TEXTS)


def test_an_unknown_reduction_is_refused_with_the_nearest_name(model: Any, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="did you mean 'received'"):
        score_texts(model, tokenizer, TEXTS, reduction="recieved")


def test_a_text_without_a_token_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="text 'nothing' has no token"):
        tokens_of(tokenizer, [Text("nothing", "")])


def scores(text: str, cuts: list[int], values: list[float], name: str = "a") -> TokenScores:
    """Scores of `text` cut at `cuts`."""
    spans = list(zip([0, *cuts], [*cuts, len(text)], strict=True))
    return TokenScores(name, [text[s:e] for s, e in spans], [s for s, _ in spans], [e for _, e in spans], values)


def test_with_equal_tokens_the_contrast_is_the_plain_difference() -> None:
    large, small = scores("Ada wrote", [3], [0.3, 0.1]), scores("Ada wrote", [3], [0.1, 0.7])
    assert contrast([large], [small]) == [scores("Ada wrote", [3], [0.3 - 0.1, 0.1 - 0.7])]


def test_other_cuts_are_weighed_by_the_characters_they_share() -> None:
    large = scores("abcdefgh", [4, 5], [1.0, 2.0, 3.0])
    small = scores("abcdefgh", [3, 6], [0.1, 0.4, 0.7])
    # abcd holds abc (.1) and one character of def (.4); e lies in def; fgh holds one of def and two of gh (.7).
    expected = [1.0 - (3 * 0.1 + 0.4) / 4, 2.0 - 0.4, 3.0 - (0.4 + 2 * 0.7) / 3]
    result = contrast([large], [small])[0]
    assert result.score == pytest.approx(expected, abs=1e-12)
    assert (result.token, result.start, result.end) == (large.token, large.start, large.end)


def test_a_single_counterpart_gives_its_score_unrounded() -> None:
    large = scores("abcdefg", [1, 4], [0.0, 0.0, 0.0])
    assert contrast([large], [scores("abcdefg", [], [0.1])])[0].score == [-0.1, -0.1, -0.1]


def test_counterparts_that_share_one_character_count_alike() -> None:
    large = TokenScores("a", ["🎉"], [0], [1], [1.0])
    small = TokenScores("a", ["🎉"] * 4, [0] * 4, [1] * 4, [0.1, 0.2, 0.3, 0.4])
    assert contrast([large], [small])[0].score == pytest.approx([0.75])


def test_white_space_that_the_small_model_leaves_out_goes_with_the_next_token() -> None:
    large = scores("a b ", [1, 2, 3], [1.0, 1.0, 1.0, 1.0])
    small = TokenScores("a", ["a", "b"], [0, 2], [1, 3], [0.2, 0.5])
    assert contrast([large], [small])[0].score == [0.8, 0.5, 0.5, 0.5]


def test_a_token_without_a_counterpart_is_told_with_its_place() -> None:
    large = scores("ab cd", [2], [1.0, 1.0], name="t7")
    small = TokenScores("t7", ["ab"], [0], [2], [0.2])
    with pytest.raises(UserError, match="cannot be aligned on text 't7' at characters 2 to 5"):
        contrast([large], [small])


@pytest.mark.parametrize("names", [["a"], ["b", "a"], ["a", "b", "c"]])
def test_two_models_must_have_scored_the_same_texts(names: list[str]) -> None:
    def some(which: list[str]) -> list[TokenScores]:
        return [scores("ab", [1], [0.0, 0.0], name=name) for name in which]

    with pytest.raises(UserError, match="same texts"):
        contrast(some(["a", "b"]), some(names))


def test_models_with_unlike_tokenizers_are_contrasted_on_the_large_ones_tokens(model: Any, tokenizer: Any) -> None:
    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    letters.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    other = fast(tokenizer_object=letters)
    texts = [*TEXTS, EMOJI]
    large, small = score_texts(model, tokenizer, texts), score_texts(model, other, texts[2:3] + texts[4:])
    for mine, its in zip([large[2], large[4]], small, strict=True):
        assert len(its.token) > len(mine.token)
        letter = dict(zip(its.start, its.score, strict=True))
        spans = zip(mine.start, mine.end, mine.score, strict=True)
        expected = [score - sum(letter[k] for k in range(s, e)) / (e - s) for s, e, score in spans]
        assert contrast([mine], [its])[0].score == pytest.approx(expected, abs=1e-9)


# --- a prefix by itself


@pytest.mark.parametrize(
    ("special", "adds_one", "expected"),
    [
        ({"bos_token": "<s>"}, True, ""),  # the tokenizer puts a token there itself
        ({"bos_token": "<s>", "eos_token": "</s>"}, False, "<s>"),
        ({"eos_token": "</s>"}, False, "</s>"),
        ({}, False, "Text: "),
    ],
)
def test_auto_puts_a_token_in_front_where_the_tokenizer_puts_none(
    special: dict[str, str], adds_one: bool, expected: str
) -> None:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator([one.text for one in TEXTS], trainer)
    if adds_one:
        bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = fast(tokenizer_object=bpe, **special)
    assert prefix_for(tokenizer, "auto") == expected
    assert prefix_for(tokenizer, "So ") == "So " and prefix_for(tokenizer, "") == ""


def test_with_auto_no_token_of_the_text_stands_at_the_first_position(model: Any, tokenizer: Any) -> None:
    """Here the tokenizer puts a token first, so that "auto" changes nothing; without it, the end token stands there."""
    assert score_texts(model, tokenizer, TEXTS, prefix="auto") == score_texts(model, tokenizer, TEXTS)
    bare = fast(tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), eos_token="<s>")
    bare.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    with_auto, without = (score_texts(model, bare, TEXTS, prefix=prefix) for prefix in ("auto", ""))
    for text, one, other in zip(TEXTS, with_auto, without, strict=True):
        ids = [0, *bare(text.text, add_special_tokens=False)["input_ids"]]
        assert one.score == pytest.approx(by_hand(model, ids)[1:], abs=1e-5)
        if len(other.score) > 1:
            assert one.score[0] < other.score[0], "the first position draws attention"
