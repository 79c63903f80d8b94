"""Token dropout: which tokens are dropped, how often, and what is left of the text."""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from benchmark.core.errors import UserError
from benchmark.data.texts import Text, TokenScores
from benchmark.methods import METHODS, augment, make_method
from benchmark.methods.dropout import TokenDropout, equation_1, ranks
from benchmark.methods.units import Unit, remove_units, units, word_units

WORDS = Text("w", "zero one two three four five six seven eight nine")
SCORES = [3.0, 9.0, 1.0, 4.0, 1.5, 5.0, 9.5, 2.0, 6.0, 0.0]
RANK_OF_WORD = [5, 1, 8, 4, 7, 3, 0, 6, 2, 9]


def _tokens(text: Text, pattern: str = r"\s?\S+", scores: list[float] | None = None) -> TokenScores:
    spans = [match.span() for match in re.finditer(pattern, text.text)]
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    return TokenScores(text.id, [text.text[s:e] for s, e in spans], starts, ends, scores or [0.0] * len(spans))


def _copies(name: str, parameters: Mapping[str, object], text: Text, tokens: TokenScores, copies: int) -> list[str]:
    rows = augment(make_method(name, parameters), [text], [tokens], copies, seed=3)
    return [row.text for row in rows if row.copy > 0]


def _within_five_sigma(hits: int, trials: int, chance: float) -> bool:
    return abs(hits - trials * chance) <= 5 * math.sqrt(trials * chance * (1 - chance)) + 1e-9


@pytest.mark.parametrize(
    ("rank", "alpha", "beta", "expected"),
    [
        (0, 0.6, 0.05, 0.0),
        (1, 0.6, 0.05, 0.0292623453),  # e^-0.05 = 0.9512294245
        (10, 0.6, 0.05, 0.2360816042),  # e^-0.5 = 0.6065306597
        (20, 0.7, 0.05, 0.4424843912),  # e^-1 = 0.3678794412
        (10_000, 0.6, 0.05, 0.6),
        (7, 0.0, 0.03, 0.0),
    ],
)
def test_equation_1_has_the_values_worked_out_by_hand(rank: int, alpha: float, beta: float, expected: float) -> None:
    assert equation_1(rank, alpha, beta) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 5000), st.floats(0, 1), st.floats(1e-6, 10))
def test_equation_1_is_a_probability_that_grows_with_the_rank(rank: int, alpha: float, beta: float) -> None:
    assert 0 <= equation_1(rank, alpha, beta) <= equation_1(rank + 1, alpha, beta) <= alpha


def test_the_largest_score_ranks_first_and_of_equal_scores_the_earlier() -> None:
    assert ranks([0.1, 0.7, 0.3]) == [2, 0, 1]
    assert ranks([0.5, 0.2, 0.5, 0.5]) == [0, 3, 1, 2]
    assert ranks([0.1, 0.7, 0.3], first_rank=1) == [3, 1, 2]
    assert ranks(SCORES) == RANK_OF_WORD


def test_cached_probabilities_are_never_used_for_another_text() -> None:
    """Neither for another text nor for other scores of the same text."""
    other = Text("w", "nine eight seven six")
    seen = [(WORDS, _tokens(WORDS, scores=SCORES)), (other, _tokens(other)), (WORDS, _tokens(WORDS, scores=SCORES))]
    seen += [(WORDS, _tokens(WORDS, scores=SCORES[::-1])), (WORDS, _tokens(WORDS, scores=SCORES))]
    parameters = {"alpha": 0.7, "beta": 0.3}
    method = make_method("attention_dropout", parameters)
    for text, tokens in seen:
        anew = make_method("attention_dropout", parameters)
        for seed in (1, 2):
            copies = [dropout.augment_one(text, tokens, random.Random(seed)) for dropout in (method, anew)]
            assert copies[0] == copies[1]


@pytest.mark.parametrize("first_rank", [0, 1])
@pytest.mark.parametrize(
    "name", ["attention_dropout", "contrastive_dropout", "released_attention", "released_difference"]
)
def test_each_rank_is_dropped_as_often_as_equation_1_says(name: str, first_rank: int) -> None:
    parameters = {"alpha": 0.7, "beta": 0.3, "first_rank": first_rank}
    copies = _copies(name, parameters, WORDS, _tokens(WORDS, scores=SCORES), 3000)
    kept = Counter(word for copy in copies for word in copy.split())
    for word, rank in zip(WORDS.text.split(), RANK_OF_WORD, strict=True):
        chance = 0.7 * (1 - math.exp(-0.3 * (rank + first_rank)))
        assert _within_five_sigma(3000 - kept[word], 3000, chance), (word, rank)


@pytest.mark.parametrize(("name", "drop_rate"), [("random_dropout", 0.3), ("released_random", 0.7)])
def test_random_dropout_drops_and_released_random_keeps_with_probability_alpha(name: str, drop_rate: float) -> None:
    copies = _copies(name, {"alpha": 0.3}, WORDS, _tokens(WORDS), 3000)
    kept = Counter(word for copy in copies for word in copy.split())
    assert all(_within_five_sigma(3000 - kept[word], 3000, drop_rate) for word in WORDS.text.split())


def test_tokens_are_dropped_independently_of_each_other() -> None:
    copies = _copies("random_dropout", {"alpha": 0.5}, WORDS, _tokens(WORDS), 3000)
    neither = sum("two" not in copy and "three" not in copy for copy in copies)
    assert _within_five_sigma(neither, 3000, 0.25)


def test_two_copies_draw_their_own_numbers() -> None:
    copies = _copies("random_dropout", {"alpha": 0.5}, WORDS, _tokens(WORDS), 200)
    assert len(set(copies)) > 150  # of 1,024 possible ones


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if issubclass(method, TokenDropout)))
def test_if_no_unit_can_be_dropped_every_copy_is_the_text_itself(name: str) -> None:
    text = Text("t", "  Two spaces lead,\nand one trails. ")
    alpha = 1.0 if name == "released_random" else 0.0
    assert set(_copies(name, {"alpha": alpha}, text, _tokens(text), 5)) == {text.text}


def test_a_dropped_token_leaves_no_space_behind() -> None:
    text = "Ada was born in Rome."
    every = units(Text("t", text), _tokens(Text("t", text), r"\s?\w+|\."))
    assert remove_units(text, every, {1}, "delete") == "Ada born in Rome."
    assert remove_units(text, every, {1, 2, 4}, "delete") == "Ada in."


def test_a_space_that_no_token_covers_belongs_to_the_word_after_it() -> None:
    text = Text("t", "Ada was born\n in Rome.")
    with_space, without_space = _tokens(text, r"\s*\w+|\."), _tokens(text, r"\w+|\.")
    assert without_space.start[1] == 4
    assert units(text, without_space) == units(text, with_space)


def test_deletion_leaves_no_space_at_the_ends_of_a_text() -> None:
    text = "Ada was born "
    every = units(Text("t", text), _tokens(Text("t", text), r"\s?\w+"))
    assert remove_units(text, every, {0}, "delete") == "was born"
    assert remove_units(text, every, {2}, "delete") == "Ada was"


def test_blanking_replaces_every_character_by_a_space() -> None:
    text = "Ada was born."
    every = units(Text("t", text), _tokens(Text("t", text), r"\s?\w+|\."))
    assert remove_units(text, every, {0, 2}, "blank") == "    was     ."


@pytest.mark.parametrize("name", ["released_random", "released_attention", "released_difference"])
def test_the_released_methods_blank_tokens_so_other_characters_keep_their_positions(name: str) -> None:
    copies = _copies(name, {"alpha": 0.5}, WORDS, _tokens(WORDS, scores=SCORES), 50)
    assert any(copy != WORDS.text for copy in copies)
    for copy in copies:
        assert len(copy) == len(WORDS.text)
        assert all(new in (old, " ") for new, old in zip(copy, WORDS.text, strict=True))


def test_commas_and_full_stops_stay_unless_keep_punctuation_is_off() -> None:
    text = Text("t", "Ada, of Rome , left.\nNo!")
    tokens = _tokens(text, r"\s?\w+|\s?,|\.\s?|!")
    assert set(_copies("random_dropout", {"alpha": 1}, text, tokens, 3)) == {", ,."}
    assert set(_copies("random_dropout", {"alpha": 1, "keep_punctuation": False}, text, tokens, 3)) == {"Ada"}


def test_punctuation_that_stays_keeps_its_rank() -> None:
    text = Text("t", "One, two")
    tokens = _tokens(text, r"\s?\w+|,", scores=[3.0, 2.0, 1.0])
    copies = _copies("attention_dropout", {"alpha": 1, "beta": 0.4}, text, tokens, 2000)
    assert _within_five_sigma(copies.count("One,"), 2000, 1 - math.exp(-0.8))  # " two" has rank 2, not 1


def test_when_everything_is_dropped_the_best_ranked_token_stays() -> None:
    scores = [float(word == "six") for word in WORDS.text.split()]
    drop_all = {"alpha": 1, "beta": 1e6, "first_rank": 1}
    assert set(_copies("attention_dropout", drop_all, WORDS, _tokens(WORDS, scores=scores), 3)) == {"six"}
    blanked = _copies("attention_dropout", {**drop_all, "dropped": "blank"}, WORDS, _tokens(WORDS, scores=scores), 1)
    assert blanked == [re.sub(r"[^ ]", " ", "zero one two three four five") + " six" + " " * 17]


def test_a_line_break_does_not_count_as_the_token_that_stays() -> None:
    text = Text("t", "\nAda")
    tokens = _tokens(text, r"\n|\w+", scores=[1.0, 0.0])
    assert set(_copies("attention_dropout", {"alpha": 1, "beta": 1e6, "first_rank": 1}, text, tokens, 3)) == {"Ada"}


def test_tokens_that_share_characters_are_one_unit_with_their_mean_score() -> None:
    text = Text("t", "a 🍎🍏 b")
    tokens = TokenScores("t", list("abcdef"), [0, 1, 2, 2, 3, 4], [1, 3, 3, 3, 4, 6], [1.0, 4.0, 5.0, 9.0, 7.0, 2.0])
    assert units(text, tokens) == [Unit(0, 1, 1.0), Unit(1, 3, 6.0), Unit(3, 4, 7.0), Unit(4, 6, 2.0)]
    for copy in _copies("random_dropout", {"alpha": 0.5}, text, tokens, 40):
        assert re.fullmatch("a?( ?🍎)?🍏?( ?b)?", copy)


def test_a_byte_level_tokenizer_never_leaves_half_a_character() -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    alphabet = BpeTrainer(vocab_size=270, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(["she sells shells"], alphabet)
    content = "李雷 sells 🍎🍏, naïve"
    encoded = tokenizer.encode(content)
    starts, ends = zip(*encoded.offsets, strict=True)
    tokens = TokenScores("t", encoded.tokens, list(starts), list(ends), [0.0] * len(starts))
    surfaces = [content[unit.start : unit.end] for unit in units(Text("t", content), tokens)]
    assert len(encoded.tokens) > len(surfaces)
    assert "".join(surfaces) == content
    assert {"李", "雷", "🍎", "🍏", ",", "ï"} <= {surface.strip() for surface in surfaces}


def test_tokens_without_characters_take_no_rank() -> None:
    text = Text("t", "Ada left")
    tokens = TokenScores("t", ["", "Ada", "", " left"], [0, 0, 3, 3], [0, 3, 3, 8], [9.0, 1.0, 8.0, 2.0])
    assert units(text, tokens) == [Unit(0, 3, 1.0), Unit(3, 8, 2.0)]


def test_the_error_for_a_score_that_is_not_finite_names_the_text() -> None:
    for score in (math.nan, math.inf):
        with pytest.raises(UserError, match="text 'w': a token score is not a finite number"):
            units(WORDS, _tokens(WORDS, scores=[score, *SCORES[1:]]))


def test_tokens_beyond_the_end_of_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens of another text"):
        units(Text("w", "zero one"), _tokens(WORDS))


@given(
    st.text(alphabet="ab ,.\n🍎水", min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 3)), max_size=25),
)
def test_units_cover_every_token_and_never_overlap(content: str, spans: list[tuple[int, int]]) -> None:
    spans = [(min(start, len(content)), min(start + width, len(content))) for start, width in spans]
    tokens = TokenScores("t", [""] * len(spans), [s for s, _ in spans], [e for _, e in spans], [0.0] * len(spans))
    every = units(Text("t", content), tokens)
    assert all(unit.start < unit.end for unit in every)
    assert all(left.end <= right.start for left, right in pairwise(every))
    for start, end in spans:
        assert start == end or sum(unit.start <= start and end <= unit.end for unit in every) == 1


def test_a_higher_alpha_drops_all_that_a_lower_alpha_drops_and_more() -> None:
    low, high = (_copies("random_dropout", {"alpha": alpha}, WORDS, _tokens(WORDS), 50) for alpha in (0.2, 0.6))
    for less, more in zip(low, high, strict=True):
        assert set(more.split()) <= set(less.split())


def test_equation_1_agrees_with_the_paper_on_how_much_of_a_text_is_lost() -> None:
    """Of 60 tokens, α .6 and β .05 drop 60·.6 − .6·Σ e^(−.05 r) = 36 − .6·(1 − e^−3)/(1 − e^−.05) ≈ 24.31."""
    text = Text("t", " ".join(f"w{number}" for number in range(60)))
    scores = random.Random(1).sample(range(60), 60)
    copies = _copies("attention_dropout", {}, text, _tokens(text, scores=[float(s) for s in scores]), 2000)
    assert 60 - sum(len(copy.split()) for copy in copies) / 2000 == pytest.approx(24.31, abs=0.4)


def test_equal_released_differences_are_ranked_at_random_and_once_per_text() -> None:
    """With all differences 0, as in bfloat16, every token of a text is kept as the first rank about equally often."""
    method = make_method("released_difference", {"alpha": 1.0, "beta": 50.0, "keep_punctuation": False})
    kept: Counter[str] = Counter()
    for number in range(400):
        text = Text(f"t{number}", "a b c d e f g h")
        tokens = TokenScores(text.id, list("abcdefgh"), list(range(0, 16, 2)), list(range(1, 17, 2)), [0.0] * 8)
        copies = [copy.text.split() for copy in augment(method, [text], [tokens], 3, seed=number)]
        assert copies[0] == copies[1] == copies[2] and len(copies[0]) == 1  # α 1 and a steep β leave only rank 0
        kept.update(copies[0])
    assert set(kept) == set("abcdefgh")
    assert all(25 < count < 80 for count in kept.values())  # 50 each; 6.6 is the standard deviation


def test_unequal_released_differences_keep_their_order() -> None:
    method = make_method("released_difference", {"alpha": 1.0, "beta": 50.0})
    text = Text("t", "a b c d")
    tokens = TokenScores("t", list("abcd"), [0, 2, 4, 6], [1, 3, 5, 7], [0.1, 0.1, 0.3, 0.2])
    assert [copy.text.strip() for copy in augment(method, [text], [tokens], 2, seed=1)] == ["c", "c"]


def test_random_ranks_are_drawn_once_per_text_and_every_token_is_equally_likely_first() -> None:
    method = make_method("random_rank_dropout", {"alpha": 1.0, "beta": 50.0, "keep_punctuation": False})
    kept: Counter[str] = Counter()
    for number in range(400):
        text = Text(f"t{number}", "a b c d e f g h")
        tokens = _tokens(text, scores=[float(number) for number in range(8)])  # which it ignores
        original, *copies = [copy.text.split() for copy in augment(method, [text], [tokens], 3, seed=number)]
        assert original == text.text.split()
        assert copies[0] == copies[1] == copies[2] and len(copies[0]) == 1  # α 1 and a steep β leave only rank 0
        kept.update(copies[0])
    assert all(25 < kept[letter] < 80 for letter in "abcdefgh")  # 50 each; 6.6 is the standard deviation


def test_random_ranks_drop_as_many_tokens_as_contrastive_dropout() -> None:
    text = Text("t", " ".join(f"w{number}" for number in range(60)))
    tokens = _tokens(text, scores=[float(number) for number in range(60)])
    expected = sum(0.6 * (1 - math.exp(-0.03 * rank)) for rank in range(60))
    for name in ("random_rank_dropout", "contrastive_dropout"):
        copies = _copies(name, {}, text, tokens, 2000)
        assert 60 - sum(len(copy.split()) for copy in copies) / 2000 == pytest.approx(expected, abs=0.4)


# --- whole words, and rates that are matched


def _parts(text: Text) -> TokenScores:
    """Tokens of at most three letters, like the word pieces of a tokenizer, with rising scores."""
    tokens = _tokens(text, r"\s?\w{1,3}|[^\w\s]")
    return _tokens(text, r"\s?\w{1,3}|[^\w\s]", [float(n) for n in range(len(tokens.token))])


PARTS = Text("p", "Ada Lovelace-Byron (born 1815), of London, wrote 1,900 programs.")


def _surfaces(text: str) -> list[str]:
    return re.sub(r"([,.])(?=[\s,.]|$)", r" \1 ", text).split()


def test_with_unit_word_whole_words_are_dropped() -> None:
    tokens = _parts(PARTS)
    copies = _copies("random_dropout", {"alpha": 0.5, "unit": "word"}, PARTS, tokens, 300)
    known = {"Ada", "Lovelace-Byron", "(born", "1815)", "of", "London", "wrote", "1,900", "programs", ",", "."}
    for copy in copies:
        assert set(_surfaces(copy)) <= known, copy
    by_token = _copies("random_dropout", {"alpha": 0.5}, PARTS, tokens, 300)
    assert any(set(_surfaces(copy)) - known for copy in by_token)


def test_a_word_has_the_mean_of_its_tokens_scores() -> None:
    tokens = _parts(PARTS)
    words_of_text = word_units(PARTS, units(PARTS, tokens))
    for word in words_of_text:
        scores = [
            score for start, score in zip(tokens.start, tokens.score, strict=True) if word.start <= start < word.end
        ]
        assert word.score == pytest.approx(sum(scores) / len(scores))
    assert [PARTS.text[word.start : word.end].strip() for word in words_of_text][:4] == [
        "Ada",
        "Lovelace-Byron",
        "(born",
        "1815)",
    ]


@pytest.mark.parametrize(
    ("content", "pattern", "expected"),
    [
        # ".\n" is one token, as in the vocabularies of Qwen
        ("Born in 1992.\nHe grew.", r"\.\n| ?\w+|\.", ["Born", " in", " 1992", ".\n", "He", " grew", "."]),
        # "\n" is one by itself, as in those of GPT-2 and Llama
        ("Role\nengineer here", r"\n| ?\w{1,4}", ["Role", "\nengineer", " here"]),
        ("Role:\n\n- one", r"\n+| ?\w+|[:-]", ["Role:", "\n\n-", " one"]),
    ],
)
def test_a_line_break_ends_a_word_and_belongs_to_the_next_one_if_it_is_a_token(
    content: str, pattern: str, expected: list[str]
) -> None:
    text = Text("t", content)
    words_of_text = word_units(text, units(text, _tokens(text, pattern)))
    assert [text.text[word.start : word.end] for word in words_of_text] == expected


def test_a_matched_rate_is_that_of_the_same_first_rank() -> None:
    tokens = _parts(PARTS)
    options = {"alpha": 0.6, "beta": 0.03, "first_rank": 1}
    wanted = make_method("contrastive_dropout", options)
    matched = make_method("random_rank_dropout", {**options, "rate": "as contrastive_dropout"}).fitted(
        [PARTS], [tokens]
    )
    expected = [
        math.fsum(probability for _, probability in method.unit_probabilities(PARTS, tokens))
        for method in (wanted, matched)
        if isinstance(method, TokenDropout)
    ]
    assert len(expected) == 2 and expected[1] == pytest.approx(expected[0], rel=1e-12)


@pytest.mark.parametrize("name", ["random_dropout", "random_rank_dropout"])
@pytest.mark.parametrize(("alpha", "beta", "unit"), [(0.2, 0.03, "token"), (0.6, 0.3, "token"), (0.4, 0.1, "word")])
def test_at_the_rate_of_contrastive_dropout_as_many_tokens_are_dropped(
    name: str, alpha: float, beta: float, unit: str
) -> None:
    """Counted over many copies of two texts whose scores differ; the tolerance is five standard errors."""
    texts = [PARTS, WORDS]
    tokens = [_parts(PARTS), _tokens(WORDS, scores=SCORES)]
    options = {"alpha": alpha, "beta": beta, "unit": unit}

    def dropped(method: str, more: Mapping[str, object]) -> list[int]:
        made = augment(make_method(method, {**options, **more}), texts, tokens, copies=600, seed=5)
        lengths = {text.id: len(text.text) for text in texts}
        by_copy: Counter[int] = Counter()
        for row in made:
            if row.copy:
                by_copy[row.copy] += lengths[row.id] - len(row.text)
        return list(by_copy.values())

    units_gone = []
    for method, more in (("contrastive_dropout", {}), (name, {"rate": "as contrastive_dropout"})):
        ready = make_method(method, {**options, **more}).fitted(texts, tokens)
        assert isinstance(ready, TokenDropout)
        probabilities = [ready.unit_probabilities(text, scores) for text, scores in zip(texts, tokens, strict=True)]
        units_gone.append(math.fsum(probability for of_text in probabilities for _, probability in of_text))
    assert units_gone[0] == pytest.approx(units_gone[1]) and units_gone[0] > 1
    characters = [dropped("contrastive_dropout", {}), dropped(name, {"rate": "as contrastive_dropout"})]
    means = [sum(lengths) / len(lengths) for lengths in characters]
    # Different tokens are dropped, so the number of letters differs a little; that of tokens is the same.
    assert means[1] == pytest.approx(means[0], rel=0.35)
