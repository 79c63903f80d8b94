"""Suite files: what valid files mean, and how mistakes are reported."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmark.core.errors import UserError, nearest
from benchmark.methods import METHODS
from benchmark.suite.schema import Suite, find_suite, load_suite, shipped_suites

GOOD = """
name: trial
models:
  large: zoo:large
  small: {model: zoo:small, skip_layers: [1]}
pairs:
  tiny: {large: large, small: small}
tasks: [biography]
train: [large]
methods: [plain]
budgets: [{steps: 3}]
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Suite]:
    def load_text(text: str) -> Suite:
        file = tmp_path / "trial.yaml"
        file.write_text(text, encoding="utf-8")
        return load_suite(file)

    return load_text


def test_a_small_suite_is_read_with_its_defaults(load: Callable[[str], Suite]) -> None:
    suite = load(GOOD)
    assert (suite.train, suite.seeds, suite.copies, suite.threads) == (["large"], [1], 10, 1)
    assert suite.models["small"].skip_layers == [1]
    assert suite.tasks[0].evaluate == ["biography", "biography_choice", "biography_cloze"]
    assert suite.budgets[0].label == "3 steps"


@pytest.mark.parametrize("name", shipped_suites())
def test_every_shipped_suite_loads_under_its_own_name(name: str) -> None:
    suite = load_suite(find_suite(name))
    assert suite.name == name
    assert suite.description


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        # unknown keys at every depth, with the nearest key
        ("budgets:", "budget: 1\nbudgets:", ["budget: unknown key", "did you mean 'budgets'?"]),
        ("skip_layers: [1]", "skip_layer: [1]", ["models.small.skip_layer: unknown key", "'skip_layers'"]),
        ("small: small", "smal: small", ["pairs.tiny.smal: unknown key", "did you mean 'small'?"]),
        ("[biography]", "[{name: biography, peopel: 4}]", ["tasks[0].peopel: unknown key", "'people'"]),
        ("tasks:", "writers: {w: {api: 'http://h/v1', model: m, modle: m}}\ntasks:", ["writers.w.modle: unknown key"]),
        ("tasks:", "writers: {w: {model: m, top: 1}}\ntasks:", ["writers.w.top: unknown key", "'top_p'"]),
        (
            "tasks:",
            "writers: {v: {api: 'http://h/v1', model: m}, w: {api: 'http://g/v1', model: m, timeout: 9}}\ntasks:",
            ["writers.w: has the model name and the sampling of writers.v", "another seed"],
        ),
        ("tasks:", "writers: {w: 3}\ntasks:", ["writers.w: expected a model, or a mapping"]),
        ("tasks:", "writers: {w: {api: h, model: m}}\ntasks:", ["writers.w.api: expected an address such as http"]),
        (
            "tasks:",
            "writers: {w: {api: 'http://h/v1', model: m, key_from: sk-1}}\ntasks:",
            ["writers.w.key_from: expected the name of an environment variable in capital letters"],
        ),
        ("{steps: 3}", "{step: 3}", ["budgets[0].step: unknown key", "'steps'"]),
        ("train:", "recipe: {learning_rat: 1}\ntrain:", ["recipe.learning_rat: unknown key", "'learning_rate'"]),
        ("train:", "scoring: {reductoin: x}\ntrain:", ["scoring.reductoin: unknown key", "'reduction'"]),
        ("train:", "evaluation: {batchsize: 1}\ntrain:", ["evaluation.batchsize: unknown key", "'batch_size'"]),
        ("train:", "recipe: {learning_rate: [0.1, -1]}\ntrain:", ["recipe.learning_rate: ", "greater than 0"]),
        ("train:", "recipe: 7\ntrain:", ["recipe: ", "7"]),
        ("train:", "recipe: {learning_rate: []}\ntrain:", ["recipe: "]),
        ("train:", "choose: {over: [alhpa]}\ntrain:", ["choose.over[0]: unknown parameter 'alhpa'"]),
        ("train:", "curve: [2, 3]\ntrain:", ["curve[1]: no budget has more than 3 steps"]),
        ("train:", "choose: {ovr: [budget]}\ntrain:", ["choose.ovr: unknown key", "'over'"]),
        # unknown names, with the nearest name
        ("train: [large]", "train: [larg]", ["train[0]: unknown model 'larg'", "did you mean 'large'?"]),
        ("small: small", "small: smal", ["pairs.tiny.small: unknown model 'smal'", "did you mean 'small'?"]),
        ("[plain]", "[plane]", ["methods[0]: unknown method 'plane'", "did you mean 'plain'?"]),
        ("[biography]", "[biografy]", ["tasks[0].name", "'biography'", "'biografy'"]),
        ("[plain]", "[{name: random_dropout, alfa: 1}]", ["methods[0]:", "unknown parameter 'alfa'", "'alpha'"]),
        ("[plain]", "[{name: plain, alpha: 1}]", ["methods[0]:", "unknown parameter 'alpha'", "it takes none"]),
        ("[plain]", "[{name: plain, for: [larg]}]", ["methods[0].for: unknown trained model 'larg'", "'large'"]),
        ("[plain]", "[plain, {name: plain, for: [small]}]", ["methods[1].for: unknown trained model 'small'"]),
        ("[plain]", "[{name: contrastive_dropout, pairs: [tinny]}]", ["methods[0].pairs: unknown pair 'tinny'"]),
        # wrong types and values
        ("[large]", "large", ["train: ", "list", "'large'"]),
        ("[plain]", "plain", ["methods: ", "list", "'plain'"]),
        ("{steps: 3}", "{steps: many}", ["budgets[0].steps: ", "integer", "'many'"]),
        ("{steps: 3}", "{steps: yes}", ["budgets[0].steps: ", "number"]),
        ("{steps: 3}", "{steps: 0}", ["budgets[0].steps: ", "greater than or equal to 1", "0"]),
        ("{steps: 3}", "{epochs: .inf}", ["budgets[0].epochs: ", "finite"]),
        ("train:", "seeds: [1, yes]\ntrain:", ["seeds[1]: ", "number"]),
        ("train:", "seeds: [-1]\ntrain:", ["seeds[0]: ", "-1"]),
        ("train:", "seeds: []\ntrain:", ["seeds: ", "at least 1"]),
        ("train:", "device: gpu\ntrain:", ["device: ", "'cuda'", "'gpu'"]),
        ("train:", "recipe: {learning_rate: .nan}\ntrain:", ["recipe.learning_rate: ", "finite", "nan"]),
        ("train:", "recipe: {learning_rate: .inf}\ntrain:", ["recipe.learning_rate: ", "finite", "inf"]),
        ("train:", "recipe: {learning_rate: true}\ntrain:", ["recipe.learning_rate: ", "number"]),
        ("train:", "recipe: {learning_rate: fast}\ntrain:", ["recipe.learning_rate: ", "number", "'fast'"]),
        ("name: trial", "name: My Trial", ["name: ", "pattern", "'My Trial'"]),
        ("skip_layers: [1]", "skip_layers: [-1]", ["models.small.skip_layers[0]: ", "-1"]),
        ("skip_layers: [1]", "skip_layers: [yes]", ["models.small.skip_layers[0]: ", "integer", "True"]),
        ("zoo:large", "''", ["models.large.model: ", "at least 1 character"]),
        ("zoo:large", "", ["models.large: ", "dictionary", "None"]),
        ("[plain]", "[{name: random_dropout, alpha: 1.5}]", ["methods[0]:", "alpha", "1.5"]),
        ("[plain]", "[{name: random_dropout, alpha: [0.1, .nan]}]", ["methods[0]:", "alpha", "nan"]),
        ("[plain]", "[{name: random_dropout, alpha: []}]", ["methods[0]: ", "empty list"]),
        ("[plain]", "[{name: plain, for: []}]", ["methods[0].for: ", "at least 1"]),
        ("[biography]", "[{name: biography, evaluate: []}]", ["tasks[0].evaluate: ", "at least 1"]),
        ("[biography]", "[{name: biography, people: 1}]", ["tasks[0].people: ", "2"]),
        ("[plain]", "[{1: 2, name: plain}]", ["methods[0]", "strings"]),
        ("train:", "retention: [{name: x, txt: f}]\ntrain:", ["retention[0]: give one of text (a file), dataset"]),
        ("train:", "retention: [{name: x, text: f, dataset: d}]\ntrain:", ["retention[0]: give one of text (a file)"]),
        ("train:", "retention: [wikitext]\ntrain:", ["retention[0]: give one of text (a file)"]),
        (
            "train:",
            "retention: [{name: x, text: f, limit: 5}]\ntrain:",
            ["retention[0].limit: unknown key; known: con"],
        ),
        ("train:", "retention: [{name: x, dataset: f, colum: y}]\ntrain:", ["retention[0].colum: unkn", "'column'"]),
        ("train:", "retention: [{name: x, lm_eval: f}]\ntrain:", ["retention[0].metric: ", "required"]),
        ("train:", "retention: [{name: x, text: f, tokens: yes}]\ntrain:", ["retention[0].tokens: ", "number"]),
        ("train:", "retention: [{name: x, text: f, context: 1}]\ntrain:", ["retention[0].context: ", "2"]),
        ("train:", "retention: [{name: x, text: f, metric: acc}]\ntrain:", ["retention[0].metric: ", "'perplexity'"]),
        ("train:", "retention: [{name: a b, text: f}]\ntrain:", ["retention[0].name: ", "pattern"]),
        # values that contradict each other
        (
            "train:",
            "retention: [{name: x, text: f}, {name: x, text: g}]\ntrain:",
            ["retention[1].name: duplicate name 'x'"],
        ),
        ("{steps: 3}", "{}", ["budgets[0]: give one of steps, epochs and tokens"]),
        ("{steps: 3}", "{steps: 3, epochs: 1}", ["budgets[0]: give one of steps, epochs and tokens"]),
        (
            "train:",
            "recipe: {batch_size: 8, micro_batch: 3}\ntrain:",
            ["recipe: micro_batch 3 does not divide batch_size 8"],
        ),
        ("pairs:\n  tiny: {large: large, small: small}\n", "", None),
        ("[plain]", "[{name: plain, pairs: [tiny]}]", ["methods[0].pairs: ", "uses no pair"]),
        # not a suite, or not YAML
        ("name: trial", "name: trial\nname: other", ["duplicate key 'name'", "line 3"]),
        ("{steps: 3}", "{steps: 3, steps: 30}", ["duplicate key 'steps'", "line 11"]),
        ("{steps: 3}", "{steps: 3", ["not a readable YAML file", "line"]),
        ("name: trial", "name: 2026-13-45", ["not a readable YAML file", "month"]),
        (GOOD, "", ["expected a mapping"]),
        (GOOD, "- name\n- models\n", ["expected a mapping"]),
        (GOOD, "\0", ["not a readable YAML file"]),
    ],
)
def test_a_mistake_is_reported_in_one_line_with_file_field_and_expectation(
    load: Callable[[str], Suite], tmp_path: Path, old: str, new: str, says: list[str] | None
) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
    if says is None:  # a contrastive method without a pair
        text, says = text.replace("[plain]", "[contrastive_dropout]"), ["methods[0]: contrastive_dropout", "a pair"]
    with pytest.raises(UserError) as error:
        load(text)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'trial.yaml'}: ")
    assert "\n" not in message
    for part in says:
        assert part in message


def test_a_long_value_is_shortened_in_the_error_message(load: Callable[[str], Suite]) -> None:
    with pytest.raises(UserError) as error:
        load(GOOD + f"copies: {list(range(1000))}\n")
    assert len(str(error.value)) < 300


def test_an_unreadable_file_is_reported_in_one_line(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("description: Größe\n".encode("latin-1"))
    for path in (tmp_path, latin):
        with pytest.raises(UserError, match="give a suite in YAML") as error:
            load_suite(path)
        assert "\n" not in str(error.value)


def test_an_anchor_may_be_merged_and_overridden(load: Callable[[str], Suite]) -> None:
    text = GOOD.replace("[plain]", "[&r {name: random_dropout, alpha: 0.2}, {<<: *r, alpha: 0.6}]")
    assert [entry.points() for entry in load(text).methods] == [[{"alpha": 0.2}], [{"alpha": 0.6}]]


def test_a_grid_expands_in_the_order_of_the_file(load: Callable[[str], Suite]) -> None:
    text = GOOD.replace("[plain]", "[{name: attention_dropout, beta: [0.5, 0.1], alpha: [0.9, 0.2]}]")
    expected = [(0.5, 0.9), (0.5, 0.2), (0.1, 0.9), (0.1, 0.2)]
    assert [(point["beta"], point["alpha"]) for point in load(text).methods[0].points()] == expected


def test_numbers_that_yaml_reads_as_strings_are_accepted(load: Callable[[str], Suite]) -> None:
    assert yaml.safe_load("1e-3") == "1e-3", "YAML 1.1 wants a dot, which people leave out"
    assert load(GOOD + "recipe: {learning_rate: 1e-3}\n").recipes[0].learning_rate == 0.001


def test_a_list_in_the_recipe_makes_every_combination(load: Callable[[str], Suite]) -> None:
    suite = load(GOOD + "recipe: {learning_rate: [1e-3, 1e-4], batch_size: [4, 8], weight_decay: 0.1}\n")
    values = [(recipe.learning_rate, recipe.batch_size, recipe.weight_decay) for recipe in suite.recipes]
    assert values == [(0.001, 4, 0.1), (0.001, 8, 0.1), (0.0001, 4, 0.1), (0.0001, 8, 0.1)]


def test_the_label_of_epochs_has_no_needless_digits(load: Callable[[str], Suite]) -> None:
    assert load(GOOD.replace("steps: 3", "epochs: 20")).budgets[0].label == "20 epochs"
    assert load(GOOD.replace("steps: 3", "epochs: 0.5")).budgets[0].label == "0.5 epochs"


def test_an_unknown_suite_is_reported_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"suite 'smok': unknown; did you mean 'smoke'\?"):
        find_suite("smok")


def test_a_missing_suite_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such suite file"):
        find_suite(str(tmp_path / "mine.yaml"))


def test_a_path_to_a_suite_file_is_returned_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(GOOD)
    assert find_suite(str(tmp_path / "mine.yml")) == tmp_path / "mine.yml"


def test_nearest_lists_the_known_names_even_if_there_are_none() -> None:
    assert nearest("plian", ["zebra", "plain"]) == "did you mean 'plain'? known: plain, zebra"
    assert nearest("qqq", ("b", "a")) == "known: a, b"
    assert nearest("x", []) == "known: none"


def test_every_method_can_be_listed_by_its_name_alone(load: Callable[[str], Suite]) -> None:
    names = sorted(set(METHODS) - {"texts"})  # needs a path
    suite = load(GOOD.replace("[plain]", str(names)))
    assert [entry.name for entry in suite.methods] == names
