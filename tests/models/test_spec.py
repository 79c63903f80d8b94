"""Model specs: where a model lies and what identifies its weights. Nothing is loaded and nothing is fetched."""

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


def test_the_fingerprint_is_the_same_in_another_folder(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "copy"))
    assert _fingerprint(copy) == _fingerprint(folder)
    assert _fingerprint(folder).startswith("sha256:")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_the_fingerprint_follows_every_byte_that_counts(folder: Path, name: str) -> None:
    before = _fingerprint(folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert _fingerprint(folder) != before


@pytest.mark.parametrize("name", ["generation_config.json", "modeling_own.py", "part/model-00002.safetensors"])
def test_the_fingerprint_notices_a_file_that_was_added_or_moved(folder: Path, name: str) -> None:
    before = _fingerprint(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    added = _fingerprint(folder)
    (folder / "other").mkdir()
    (folder / name).rename(folder / "other" / Path(name).name)
    assert len({before, added, _fingerprint(folder)}) == 3


@pytest.mark.parametrize("name", ["README.md", "training.json"])
def test_what_is_written_about_a_model_does_not_change_it(folder: Path, name: str) -> None:
    before = _fingerprint(folder)
    (folder / name).write_text("in other words")
    assert _fingerprint(folder) == before


def test_a_gguf_file_is_its_own_fingerprint_whatever_lies_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    before = _fingerprint(file)
    (tmp_path / "other.gguf").write_bytes(b"other")
    assert _fingerprint(file) == before
    file.write_bytes(b"GGUG")
    assert _fingerprint(file) != before


def test_pickled_weights_alone_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights are not read"):
        _fingerprint(folder)


def test_a_mere_adapter_is_refused_since_nothing_says_what_its_base_is(folder: Path) -> None:
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


def test_an_unknown_zoo_model_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"model 'zoo:smal': not in the zoo; did you mean 'small'\?"):
        ModelSpec(model="zoo:smal").fingerprint()


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/model", "~/nowhere/model", "a/b/c", "nowhere.gguf"])
def test_what_looks_like_a_path_and_is_not_there_is_not_asked_of_the_hub(model: str) -> None:
    with pytest.raises(UserError, match=r"no such file or folder; give a path that exists or a hub id"):
        ModelSpec(model=model).fingerprint()


def test_the_home_folder_of_nobody_is_one_line() -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        ModelSpec(model="~nobody-of-that-name/model").fingerprint()


@pytest.mark.usefixtures("_offline")
def test_a_hub_model_without_the_hub_is_one_line_with_the_path_to_give_instead() -> None:
    with pytest.raises(UserError) as error:
        ModelSpec(model="someone/some-model").fingerprint()
    message = str(error.value)
    assert "someone/some-model" in message and "HF_HUB_OFFLINE" in message
    assert "give the path of a local folder instead" in message and "\n" not in message


def test_a_hub_that_does_not_answer_is_one_line_with_the_path_to_give_instead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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
def test_what_is_neither_path_nor_hub_id_is_one_line(model: str) -> None:
    with pytest.raises(UserError, match="neither a path that exists nor a hub id"):
        ModelSpec(model=model).fingerprint()


@pytest.mark.usefixtures("_offline")
def test_a_cached_hub_model_is_known_by_its_commit(tmp_path: Path) -> None:
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


def test_the_fingerprint_follows_the_adapter_and_not_its_folder(folder: Path, adapter: Path, tmp_path: Path) -> None:
    spec = ModelSpec(model=str(folder), adapter=str(adapter))
    before = spec.fingerprint()
    assert before.startswith(f"{_fingerprint(folder)}+sha256:")
    copy = shutil.copytree(adapter, tmp_path / "elsewhere")
    assert ModelSpec(model=str(folder), adapter=str(copy)).fingerprint() == before
    (adapter / "adapter_model.safetensors").write_bytes(b"other")
    assert spec.fingerprint() != before


def test_an_adapter_that_is_not_there_or_is_pickled_is_one_line(folder: Path, adapter: Path) -> None:
    with pytest.raises(UserError, match=r"^adapter '/nowhere': no such folder"):
        ModelSpec(model=str(folder), adapter="/nowhere").fingerprint()
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match=r"has no adapter_model.safetensors; give a folder that peft saved"):
        ModelSpec(model=str(folder), adapter=str(adapter)).fingerprint()


def test_what_comes_from_the_hub_is_pinned_to_the_commits_of_the_fingerprint() -> None:
    spec = ModelSpec(model="org/base", adapter="org/adapter")
    pinned = spec.pinned("hub:abc+hub:def")
    assert (pinned.revision, pinned.adapter_revision) == ("abc", "def")
    assert spec.pinned("sha256:1+hub:def").revision is None
    assert spec.pinned("sha256:1").adapter_revision is None
