"""Model specs: where a model is and what identifies its weights. Nothing is loaded or downloaded."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from benchmark.core.errors import UserError
from benchmark.models.spec import ZOO, ModelSpec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "README.md").write_text("a model")
    return path


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def _fingerprint(path: Path) -> str:
    return ModelSpec(model=str(path)).fingerprint()


def test_a_copy_in_another_folder_has_the_same_fingerprint(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "copy"))
    assert _fingerprint(copy) == _fingerprint(folder)
    assert _fingerprint(folder).startswith("sha256:")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_change_of_weights_configuration_or_tokenizer_changes_the_fingerprint(folder: Path, name: str) -> None:
    before = _fingerprint(folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert _fingerprint(folder) != before


@pytest.mark.parametrize("name", ["generation_config.json", "modeling_own.py", "part/model-00002.safetensors"])
def test_adding_or_moving_a_file_changes_the_fingerprint(folder: Path, name: str) -> None:
    before = _fingerprint(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    added = _fingerprint(folder)
    (folder / "other").mkdir()
    (folder / name).rename(folder / "other" / Path(name).name)
    assert len({before, added, _fingerprint(folder)}) == 3


@pytest.mark.parametrize("name", ["README.md", "training.json"])
def test_files_about_a_model_do_not_change_its_fingerprint(folder: Path, name: str) -> None:
    before = _fingerprint(folder)
    (folder / name).write_text("in other words")
    assert _fingerprint(folder) == before


def test_other_files_in_its_folder_do_not_change_the_fingerprint_of_a_gguf_file(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    before = _fingerprint(file)
    (tmp_path / "other.gguf").write_bytes(b"other")
    assert _fingerprint(file) == before
    file.write_bytes(b"GGUG")
    assert _fingerprint(file) != before


def test_a_folder_with_pickled_weights_alone_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights are not read"):
        _fingerprint(folder)


def test_an_adapter_given_as_model_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds both a whole model \(config.json\) and an adapter"):
        _fingerprint(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="an adapter without its base model"):
        _fingerprint(folder)


def test_zoo_models_are_found_by_name() -> None:
    spec = ModelSpec(model="zoo:small")
    assert spec.local == ZOO / "small"
    assert spec.fingerprint() == _fingerprint(ZOO / "small")


def test_an_unknown_zoo_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"model 'zoo:smal': not in the zoo; did you mean 'small'\?"):
        ModelSpec(model="zoo:smal").fingerprint()


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/model", "~/nowhere/model", "a/b/c", "nowhere.gguf"])
def test_a_missing_path_is_not_looked_up_on_the_hub(model: str) -> None:
    with pytest.raises(UserError, match=r"no such file or folder; give a path that exists or a hub id"):
        ModelSpec(model=model).fingerprint()


def test_the_home_folder_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        ModelSpec(model="~nobody-of-that-name/model").fingerprint()


@pytest.mark.usefixtures("_offline")
def test_an_uncached_hub_model_is_refused_offline() -> None:
    with pytest.raises(UserError) as error:
        ModelSpec(model="someone/some-model").fingerprint()
    message = str(error.value)
    assert "someone/some-model" in message and "HF_HUB_OFFLINE" in message
    assert "give the path of a local folder instead" in message and "\n" not in message


def test_a_hub_that_does_not_answer_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def unreachable(*args: object, **kwargs: object) -> None:
        raise ConnectionError("Name or service not known\nand more")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(UserError, match="ConnectionError: Name or service not known") as error:
        ModelSpec(model="someone/some-model").fingerprint()
    assert "give the path of a local folder instead" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("model", ["tiny large", "zoo/large:3", "-a", "x" * 300])
def test_a_name_that_is_neither_path_nor_hub_id_is_refused(model: str) -> None:
    with pytest.raises(UserError, match="neither a path that exists nor a hub id"):
        ModelSpec(model=model).fingerprint()


@pytest.mark.usefixtures("_offline")
def test_a_cached_hub_model_has_its_commit_as_fingerprint(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--someone--some-model"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert ModelSpec(model="someone/some-model").fingerprint() == f"hub:{commit}"
    assert ModelSpec(model="someone/some-model", revision=commit).fingerprint() == f"hub:{commit}"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    path = tmp_path / "adapter"
    path.mkdir()
    (path / "adapter_config.json").write_text("{}")
    (path / "adapter_model.safetensors").write_bytes(b"weights")
    return path


def test_the_fingerprint_depends_on_the_adapter_and_not_on_its_folder(
    folder: Path, adapter: Path, tmp_path: Path
) -> None:
    spec = ModelSpec(model=str(folder), adapter=str(adapter))
    before = spec.fingerprint()
    assert before.startswith(f"{_fingerprint(folder)}+sha256:")
    copy = shutil.copytree(adapter, tmp_path / "elsewhere")
    assert ModelSpec(model=str(folder), adapter=str(copy)).fingerprint() == before
    (adapter / "adapter_model.safetensors").write_bytes(b"other")
    assert spec.fingerprint() != before


def test_a_missing_or_pickled_adapter_is_refused(folder: Path, adapter: Path) -> None:
    with pytest.raises(UserError, match=r"^adapter '/nowhere': no such folder"):
        ModelSpec(model=str(folder), adapter="/nowhere").fingerprint()
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match=r"has no adapter_model.safetensors; give a folder that peft saved"):
        ModelSpec(model=str(folder), adapter=str(adapter)).fingerprint()


def test_hub_ids_are_pinned_to_the_commits_in_the_fingerprint() -> None:
    spec = ModelSpec(model="org/base", adapter="org/adapter")
    pinned = spec.pinned("hub:abc+hub:def")
    assert (pinned.revision, pinned.adapter_revision) == ("abc", "def")
    assert spec.pinned("sha256:1+hub:def").revision is None
    assert spec.pinned("sha256:1").adapter_revision is None
