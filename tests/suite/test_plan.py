"""Plans: the cells and stages of a suite, and what their keys depend on. No model is loaded."""

import copy
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.corpora.biography import Biography
from benchmark.data.people import make_people, people_lines
from benchmark.suite.plan import Cell, Plan, find_device, make_plan
from benchmark.suite.schema import Suite

Changes = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    """The content of a suite file with a pair of model folders and a data file."""
    for name in ("large", "small"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(f"weights of {name}".encode())  # a plan reads no weights
    (tmp_path / "people.jsonl").write_text("".join(people_lines(make_people(4, 5))), encoding="utf-8")
    return {
        "name": "trial",
        "models": {"large": str(tmp_path / "large"), "small": str(tmp_path / "small")},
        "pairs": {"tiny": {"large": "large", "small": "small"}},
        "tasks": [{"name": "biography", "path": str(tmp_path / "people.jsonl")}],
        "train": ["large"],
        "methods": [{"name": "contrastive_dropout", "alpha": 0.6}],
        "budgets": [{"steps": 10}],
        "references": False,
    }


def _plan(content: dict[str, Any]) -> Plan:
    return make_plan(Suite.model_validate(content))


def _only_cell(content: dict[str, Any]) -> Cell:
    (cell,) = _plan(content).cells
    return cell


def _keys(cell: Cell) -> dict[str, str]:
    return {role: call.key for role, call in cell.stages.items()}


def test_the_numbers_of_cells_and_stages_equal_those_counted_by_hand(content: dict[str, Any]) -> None:
    content |= {
        "train": ["large", "small"],
        "methods": [
            "plain",
            {"name": "random_dropout", "alpha": [0.2, 0.6]},
            "attention_dropout",
            "contrastive_dropout",
            "released_difference",
        ],
        "seeds": [1, 2],
        "budgets": [{"steps": 10}, {"steps": 20}],
    }
    plan = _plan(content)
    # 2 trained models × 6 method points × 2 budgets × 2 seeds
    assert len(plan.cells) == 48
    assert Counter(call.stage for call in plan.calls()) == {
        "corpus": 1,
        "score": 4,  # 2 models × 2 reductions; attention_dropout and contrastive_dropout share theirs
        # per seed: plain 1 for both models, random 2 α × 2 tokenizers, attention 2, each difference 1 for both models
        "augment": 2 * (1 + 4 + 2 + 1 + 1),
        "facts": 2 * (0 + 4 + 2 + 2 + 2),  # with the tokenizer of the trained model; plain has no copies
        "train": 48,
        "evaluate": 48,
    }


def test_every_stage_is_listed_once_and_after_its_inputs(content: dict[str, Any]) -> None:
    content |= {"train": ["large", "small"], "methods": ["plain", "attention_dropout", "contrastive_dropout"]}
    calls = _plan(content).calls()
    position = {call.key: number for number, call in enumerate(calls)}
    assert len(position) == len(calls)
    for call in calls:
        assert all(position[source.key] < position[call.key] for source in call.inputs.values())


def test_only_contrastive_methods_make_a_cell_per_pair(content: dict[str, Any]) -> None:
    content["pairs"]["other"] = {"large": "large", "small": "large"}
    content["methods"] = ["plain", "attention_dropout", "contrastive_dropout"]
    cells = [(cell.method.name, cell.pair) for cell in _plan(content).cells]
    assert cells == [
        ("plain", None),
        ("attention_dropout", None),
        ("contrastive_dropout", "tiny"),
        ("contrastive_dropout", "other"),
    ]


def test_a_cell_lists_the_chosen_parameters_that_apply_to_it(content: dict[str, Any]) -> None:
    content |= {
        "methods": ["plain_matched", {"name": "random_dropout", "alpha": [0.2, 0.6]}],
        "recipe": {"learning_rate": [1e-3, 1e-4]},
        "budgets": [{"steps": 10}, {"steps": 20}],
        "choose": {"over": ["alpha", "learning_rate", "budget"]},
    }
    plan = _plan(content)
    assert len(plan.cells) == (1 + 2) * 2 * 2
    shared = ["training.recipe.learning_rate", "training.budget"]
    choices = {cell.method.name: cell.choice for cell in plan.cells}
    assert choices == {"plain_matched": shared, "random_dropout": ["method.parameters.alpha", *shared]}


def test_a_curve_evaluates_checkpoints_of_the_same_training(content: dict[str, Any]) -> None:
    without = _only_cell(content)
    cell = _only_cell(content | {"curve": [5, 2, 5]})
    assert cell.stages["train"].params["checkpoints"] == [2, 5]
    assert cell.stages["curve"].inputs["trained"].key == cell.stages["evaluate"].inputs["trained"].key
    assert cell.stages["curve"].params["tasks"] == ["biography"]
    assert "checkpoints" not in without.stages["train"].params and "curve" not in without.stages
    assert cell.stages["curve"].key in {call.key for call in _plan(content | {"curve": [5, 2, 5]}).calls()}
    assert cell.key != without.key


def test_a_model_cannot_be_compared_with_itself(content: dict[str, Any]) -> None:
    content["methods"] = ["selective_loss"]
    with pytest.raises(UserError, match="'large' is the large model of pair 'tiny', so"):
        _plan(content)
    content["train"] = ["small"]
    cell = _only_cell(content | {"scoring": {"prefix": "Text: "}})
    assert cell.stages["large"].params["prefix"] == "", "training has no prefix"


def test_another_version_of_a_methods_package_changes_the_augment_key(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = _only_cell(content).stages["augment"]
    assert "package" not in ours.params
    keys = {ours.key}
    for package in ("shouting 1.2", "shouting 1.3"):
        monkeypatch.setattr("benchmark.suite.stage_calls.package_of", lambda name, package=package: package)
        keys.add(_only_cell(content).stages["augment"].key)
    assert len(keys) == 3


def test_a_record_with_a_long_method_label_has_a_short_file_name(content: dict[str, Any]) -> None:
    heads = " ".join(f"L{layer}H0" for layer in range(60))
    cell = _only_cell(
        content | {"methods": [{"name": "contrastive_blend", "large_heads": heads, "small_heads": heads}]}
    )
    assert len(f"{cell.name}.answers.parquet".encode()) < 200
    assert cell.name.endswith(cell.key[:8])


def test_a_method_is_limited_to_its_models_and_pairs(content: dict[str, Any]) -> None:
    content["pairs"]["other"] = {"large": "large", "small": "large"}
    content["train"] = ["large", "small"]
    content["methods"] = ["plain", {"name": "contrastive_dropout", "for": ["small"], "pairs": ["other"]}]
    cells = [(cell.trained, cell.method.name, cell.pair) for cell in _plan(content).cells]
    assert cells == [("large", "plain", None), ("small", "plain", None), ("small", "contrastive_dropout", "other")]


def test_a_method_on_part_of_the_attention_has_its_own_scores(content: dict[str, Any]) -> None:
    whole = _only_cell(content).stages
    content["methods"] = [{"name": "contrastive_blend", "alpha": 0.6, "low": 0.0}]
    default = _only_cell(content).stages
    assert (default["large"].key, default["small"].key) == (whole["large"].key, whole["small"].key)
    assert "attention" not in whole["large"].params
    content["methods"] = [{"name": "contrastive_blend", "alpha": 0.6, "low": 0.5, "small_heads": "L1H2"}]
    stages = _only_cell(content).stages
    assert stages["large"].params["attention"] == {"depth": [0.5, 1.0]}
    assert stages["small"].params["attention"] == {"heads": [[1, 2]]}
    assert len({stages["large"].key, stages["small"].key, whole["large"].key, whole["small"].key}) == 4


def test_selective_loss_scores_only_the_large_model_and_by_its_losses(content: dict[str, Any]) -> None:
    content |= {"methods": ["selective_loss"], "train": ["small"]}
    stages = _only_cell(content).stages
    assert "small" not in stages and stages["large"].params["reduction"] == "loss"
    assert stages["train"].params["training"] == {"loss": "selected", "selected": 0.6}


def _weights(name: str) -> Changes:
    def change(content: dict[str, Any]) -> None:
        (Path(content["models"][name]) / "model.safetensors").write_bytes(b"other weights")

    return change


def _data(content: dict[str, Any]) -> None:
    file = Path(content["tasks"][0]["path"])
    file.write_bytes(file.read_bytes() + b"\n")  # also if it means the same


def _set(**values: Any) -> Changes:
    return lambda content: content.update(values)


def _dtype(content: dict[str, Any]) -> None:
    content["models"]["large"] = {"model": content["models"]["large"], "dtype": "bfloat16"}


def _skip(content: dict[str, Any]) -> None:
    content["models"]["small"] = {"model": content["models"]["small"], "skip_layers": [1]}


TRAINED = {"train", "evaluate"}
AUGMENTED = {"augment", "facts", *TRAINED}
ALL = {"corpus", "large", "small", *AUGMENTED}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (_set(seeds=[2]), AUGMENTED),
        (_set(copies=4), AUGMENTED),
        (_set(methods=[{"name": "contrastive_dropout", "alpha": 0.5}]), AUGMENTED),
        (_set(methods=[{"name": "contrastive_dropout", "alpha": 0.6, "beta": 0.5}]), AUGMENTED),
        (_set(recipe={"learning_rate": 1e-4}), TRAINED),
        (_set(recipe={"adaptation": "full"}), TRAINED),
        (_set(budgets=[{"steps": 11}]), TRAINED),
        (_set(evaluation={"num_fewshot": [0]}), {"evaluate"}),
        (_set(scoring={"prefix": "Text: "}), {"large", "small", *AUGMENTED}),
        (_set(scoring={"reduction": "received_strict"}), {"large", "small", *AUGMENTED}),
        (_set(threads=2), {"large", "small", *AUGMENTED}),
        (_set(long_texts="split"), ALL),
        (_data, ALL),
        (lambda content: content["tasks"][0].update(people=2), ALL),
        (lambda content: content["tasks"][0].update(evaluate=["biography_major"]), {"evaluate"}),
        (_weights("large"), {"large", *AUGMENTED}),
        (_weights("small"), {"small", *AUGMENTED}),
        (_dtype, {"large", *AUGMENTED}),
        (_skip, {"small", *AUGMENTED}),
    ],
)
def test_a_change_renames_the_stages_that_depend_on_it_and_no_others(
    content: dict[str, Any], change: Changes, changed: set[str]
) -> None:
    before = _keys(_only_cell(content))
    change(content)
    after = _keys(_only_cell(content))
    assert {role for role in before if before[role] != after[role]} == changed


def _move_models(content: dict[str, Any]) -> None:
    for name, folder in content["models"].items():
        content["models"][name] = str(shutil.move(folder, Path(folder).parent / f"elsewhere_{name}"))


def _move_data(content: dict[str, Any]) -> None:
    file = Path(content["tasks"][0]["path"])
    (file.parent / "elsewhere").mkdir()
    content["tasks"][0]["path"] = str(shutil.copy(file, file.parent / "elsewhere"))


@pytest.mark.parametrize(
    "change",
    [
        _set(name="another_name"),
        _set(description="in other words"),
        _set(device="cpu"),
        _set(pairs={"other": {"large": "large", "small": "small"}}),
        _set(methods=[{"name": "contrastive_dropout", "alpha": "0.6", "beta": 0.03}]),  # beta's default
        _move_models,
        _move_data,
        lambda content: content["models"].update(third=content["models"]["small"]),
    ],
)
def test_a_change_without_effect_on_results_changes_no_key(content: dict[str, Any], change: Changes) -> None:
    before = _keys(_only_cell(content))
    change(content)
    assert _keys(_only_cell(content)) == before


def test_the_device_map_is_part_of_no_key(content: dict[str, Any]) -> None:
    def keys() -> list[str]:
        return [call.key for call in make_plan(Suite.model_validate(content), dry_on="cuda").calls()]

    before = keys()
    content["models"]["large"] = {"model": str(content["models"]["large"]), "device_map": "auto"}
    assert keys() == before


def test_a_device_map_is_rejected_on_a_cpu(content: dict[str, Any]) -> None:
    content["models"]["large"] = {"model": str(content["models"]["large"]), "device_map": "auto"}
    with pytest.raises(UserError, match=r"device_map: auto: spreads a model over GPUs, and the device is cpu; leave"):
        _plan(content)


def test_a_dry_plan_needs_neither_weights_nor_the_device(content: dict[str, Any]) -> None:
    for folder in content["models"].values():
        (Path(folder) / "model.safetensors").unlink()
    content["device"] = "cuda"
    plan = make_plan(Suite.model_validate(content), dry_on="cuda")
    assert plan.device == "cuda" and len(plan.cells) == 1
    with pytest.raises(UserError, match="no CUDA device can be used"):
        _plan(content)


def test_moved_files_give_the_same_cell(content: dict[str, Any]) -> None:
    before = _only_cell(content)
    _move_models(content)
    after = _only_cell(content)
    assert (after.key, after.name) == (before.key, before.name)


def test_renamed_models_give_another_cell_that_shares_every_stage(content: dict[str, Any]) -> None:
    before = _only_cell(content)
    content["models"] = {"l": content["models"]["large"], "s": content["models"]["small"]}
    content |= {"name": "renamed", "train": ["l"], "pairs": {"p": {"large": "l", "small": "s"}}}
    after = _only_cell(content)
    assert _keys(after) == _keys(before)
    assert after.key != before.key


def test_two_suites_share_their_equal_cells(content: dict[str, Any]) -> None:
    other = copy.deepcopy(content) | {"name": "other", "methods": ["plain", "contrastive_dropout"], "seeds": [1, 2]}
    mine, theirs = _plan(content), _plan(other)
    assert {cell.key for cell in mine.cells} <= {cell.key for cell in theirs.cells}
    assert {call.key for call in mine.calls()} <= {call.key for call in theirs.calls()}


def test_cell_names_are_distinct_and_safe_as_file_names(content: dict[str, Any]) -> None:
    content["models"]["Grö ße/../x"] = content["models"]["large"]
    content |= {
        "train": ["large", "Grö ße/../x"],
        "methods": [{"name": "contrastive_dropout", "alpha": [0.2, 0.6], "dropped": ["delete", "blank"]}],
        "seeds": [1, 2],
        "budgets": [{"steps": 10}, {"epochs": 0.5}],
    }
    names = [cell.name for cell in _plan(content).cells]
    assert len(set(names)) == len(names) == 32
    for name in names:
        assert Path(name).name == name
        assert not set(name) & set(' /\\:*?"<>|αβ=')
        assert len(f"{name}.answers.parquet".encode()) < 256


@pytest.mark.parametrize(
    "change",
    [
        _set(seeds=[1, 2, 1]),
        _set(train=["large", "large"]),
        _set(budgets=[{"steps": 10}, {"steps": 10}]),
        _set(methods=["plain", "plain"]),
        _set(methods=[{"name": "random_dropout", "alpha": [0.2, "0.2"]}]),
    ],
)
def test_a_cell_listed_twice_is_rejected(content: dict[str, Any], change: Changes) -> None:
    change(content)
    with pytest.raises(UserError, match=r"suite 'trial': duplicate cell large, .*, seed 1;"):
        _plan(content)


def test_a_method_may_be_listed_once_for_each_model(content: dict[str, Any]) -> None:
    content["train"] = ["large", "small"]
    content["methods"] = [{"name": "plain", "for": ["large"]}, {"name": "plain", "for": ["small"]}]
    assert len(_plan(content).cells) == 2


def test_an_unknown_lm_eval_task_is_rejected_by_the_plan(content: dict[str, Any]) -> None:
    content["tasks"][0]["evaluate"] = ["biography_mayor"]
    with pytest.raises(UserError, match=r"evaluate: unknown lm-eval task 'biography_mayor'; .*'biography_major'"):
        _plan(content)


def test_a_task_without_exact_match_is_rejected(content: dict[str, Any]) -> None:
    content["tasks"][0]["evaluate"] = ["biography_choice", "biography_reverse"]
    with pytest.raises(
        UserError, match=r"evaluate: the board ranks by the exact match of direct questions; add 'biography'"
    ):
        _plan(content)


def test_other_questions_are_asked_at_the_end_alone_and_never_with_the_document(content: dict[str, Any]) -> None:
    content["tasks"] = [{"name": "biography", "people": 20, "universities": True}]
    asked = ["biography", "biography_choice", "biography_cloze", "biography_two_hop", "biography_reverse"]
    content["tasks"][0]["evaluate"] = asked
    cells = {cell.method.label: cell for cell in _plan(content | {"references": True, "curve": [5]}).cells}
    *_, trained = cells.values()
    assert trained.stages["evaluate"].params["tasks"] == asked
    assert trained.stages["curve"].params["tasks"] == ["biography"]
    assert cells["untouched"].stages["evaluate"].params["tasks"] == asked
    assert cells["open_book"].stages["evaluate"].params["tasks"] == ["biography", "biography_choice"]


def test_universities_change_the_corpus_and_not_the_keys_of_suites_without_them(content: dict[str, Any]) -> None:
    content["tasks"] = [{"name": "biography", "people": 20}]
    without, params = _keys(_only_cell(content)), _only_cell(content).stages["corpus"].params
    assert set(params) == {"task", "people", "data"}
    content["tasks"][0]["universities"] = True
    cell = _only_cell(content)
    assert cell.stages["corpus"].params["universities"] is True
    assert not set(_keys(cell).values()) & set(without.values())


def test_a_writer_of_questions_depends_on_whether_other_questions_are_asked(content: dict[str, Any]) -> None:
    content["tasks"] = [{"name": "biography", "people": 20}]
    content["methods"] = [{"name": "self_qa", "writer": "trained"}, {"name": "rewrite", "writer": "trained"}]

    def written() -> list[tuple[str, Any]]:
        stages = [cell.stages["write"] for cell in _plan(content).cells]
        return [(stage.key, stage.params.get("questions")) for stage in stages]

    direct = written()
    assert [questions for _, questions in direct] == [Biography(people=20).load().data_hash, None]
    content["tasks"][0]["evaluate"] = ["biography", "biography_paraphrased"]
    others = written()
    assert others[0][0] != direct[0][0] and others[1] == direct[1]


def test_an_unused_model_may_be_missing(content: dict[str, Any], tmp_path: Path) -> None:
    content["models"]["unused"] = str(tmp_path / "nowhere")
    assert len(_plan(content).cells) == 1
    content["train"] = ["unused"]
    with pytest.raises(UserError, match="no such file or folder"):
        _plan(content)


def test_cuda_is_rejected_on_a_machine_without_it(content: dict[str, Any]) -> None:
    assert find_device("auto") == find_device("cpu") == "cpu"
    with pytest.raises(UserError, match="set device: cpu"):
        _plan(content | {"device": "cuda"})


def test_every_stage_call_survives_json(content: dict[str, Any]) -> None:
    for call in _plan(content).calls():
        assert json.loads(json.dumps([call.params, call.where])) == [call.params, call.where]


@pytest.mark.parametrize(
    ("method", "details"),
    [
        ("plain", None),
        ("aeda", None),
        ("eda", ["entities"]),
        ("full_name", ["entities", "subject"]),
        ("reverse", ["entities"]),
    ],
)
def test_a_method_gets_the_details_it_needs_and_those_it_can_use(
    content: dict[str, Any], method: str, details: list[str] | None
) -> None:
    assert _only_cell(content | {"methods": [method]}).stages["corpus"].params.get("details") == details


def test_a_task_may_lack_details_that_a_method_can_use_but_not_those_it_needs(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Biography, "details", frozenset({"subject"}))
    assert "details" not in _only_cell(content | {"methods": ["eda"]}).stages["corpus"].params
    assert _only_cell(content | {"methods": ["full_name"]}).stages["corpus"].params["details"] == ["subject"]
    monkeypatch.setattr(Biography, "details", frozenset({"entities"}))
    with pytest.raises(
        ValueError, match="full_name needs the subject of every text, which task biography does not have"
    ):
        _only_cell(content | {"methods": ["full_name"]})


# --- retention


@pytest.fixture
def held_out(content: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The suite with a held-out text and an lm-eval task."""
    (tmp_path / "held_out.txt").write_text("Words that no corpus has.", encoding="utf-8")
    text = {"name": "words", "text": str(tmp_path / "held_out.txt"), "tokens": 100}
    return content | {"retention": [text, {"name": "hellaswag", "lm_eval": "hellaswag", "metric": "acc_norm"}]}


def test_without_retention_a_cells_key_depends_on_its_evaluation_and_its_names_alone(content: dict[str, Any]) -> None:
    """As before retention was added, so that older records still belong to their cells."""
    cell = _only_cell(content)
    parts = [cell.stages["evaluate"].key, "large", "tiny", "biography", cell.method.label, "10 steps"]
    assert cell.key == hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    assert _only_cell(content | {"retention": []}).key == cell.key


def test_retention_of_the_untouched_model_is_measured_once_for_all_cells(held_out: dict[str, Any]) -> None:
    held_out |= {"train": ["large", "small"], "methods": ["plain", "random_dropout"], "seeds": [1, 2]}
    plan = _plan(held_out)
    counts = Counter(call.stage for call in plan.calls())
    assert (len(plan.cells), counts["evaluate"]) == (8, 8)
    assert counts["retain"] == 8 + 2
    assert len({cell.stages["untouched"].key for cell in plan.cells}) == 2
    first, *_ = plan.calls()
    assert (first.stage, dict(first.inputs)) == ("retain", {})


def test_retention_changes_the_key_of_the_cell_and_of_no_other_stage(
    content: dict[str, Any], held_out: dict[str, Any]
) -> None:
    without, with_it = _only_cell(content), _only_cell(held_out)
    assert _keys(without).items() < _keys(with_it).items()
    assert _keys(with_it).keys() - _keys(without).keys() == {"untouched", "retained"}
    assert with_it.key != without.key
    for call in _plan(held_out).calls():
        assert json.loads(json.dumps([call.params, call.where])) == [call.params, call.where]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda content: content["retention"][0].update(tokens=50), True),
        (lambda content: content["retention"][0].update(context=64), True),
        (lambda content: content["retention"][0].update(metric="bits_per_byte"), True),
        (lambda content: content["retention"][1].update(limit=5), True),
        (lambda content: content["retention"].pop(), True),
        (lambda content: Path(content["retention"][0]["text"]).write_text("Other words."), True),
        (_weights("large"), True),
        (_dtype, True),
        (_set(threads=2), True),
        (_set(evaluation={"batch_size": 8}), True),
        (_set(evaluation={"num_fewshot": 0}), False),
        (_set(seeds=[3]), False),
        (_weights("small"), False),
        (_move_models, False),
        (lambda content: content["retention"][0].update(text=shutil.move(content["retention"][0]["text"],
         Path(content["retention"][0]["text"]).with_name("elsewhere.txt"))), False),
    ],
)  # fmt: skip
def test_the_retention_key_of_the_untouched_model_depends_on_the_entries_alone(
    held_out: dict[str, Any], change: Changes, changed: bool
) -> None:
    before = _only_cell(held_out).stages["untouched"].key
    change(held_out)
    assert (_only_cell(held_out).stages["untouched"].key != before) is changed


def test_an_unreadable_held_out_text_is_rejected_by_the_plan(held_out: dict[str, Any]) -> None:
    held_out["retention"][0]["text"] += "x"
    with pytest.raises(UserError, match=r"^retention words: .*held_out.txtx: No such file or directory; give the path"):
        _plan(held_out)
