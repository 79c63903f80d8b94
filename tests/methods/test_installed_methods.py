"""Methods of other distributions: found by their entry points, or refused with a one-line error."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark import ROOT, methods
from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.methods import augment, make_method, package_of

SHOUT = '''
"""A method of another project."""

import random
from typing import ClassVar

from benchmark.methods import Method
from benchmark.data.texts import Text, TokenScores


class Shout(Method):
    """Capitals throughout."""

    name: ClassVar[str] = "shout"
    marks: int = 1

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        return text.text.upper() + "!" * self.marks
'''


def _install(folder: Path, module: str, content: str, entry: str, version: str = "1.2") -> None:
    """Write a distribution as pip installs it: a module, and a .dist-info with its entry points."""
    (folder / f"{module}.py").write_text(content, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[benchmark.methods]\n{entry}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path, with the registry not built yet."""
    monkeypatch.syspath_prepend(tmp_path)
    methods._registry.cache_clear()
    yield tmp_path
    methods._registry.cache_clear()
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_an_installed_method_is_in_the_registry_with_its_package(site: Path) -> None:
    _install(site, "shouting_one", SHOUT, "anything = shouting_one:Shout")
    assert {"shout", "plain"} <= set(methods.METHODS)
    method = make_method("shout", {"marks": 2})
    made = [row.text for row in augment(method, [Text("t", "ran")], None, 1, seed=1)]
    assert made == ["ran", "RAN!!"]
    assert (package_of("shout"), package_of("plain")) == ("shouting-one 1.2", None)


def test_the_error_for_a_name_used_twice_names_both_packages(site: Path) -> None:
    _install(site, "shouting_two", SHOUT.replace('"shout"', '"plain"'), "x = shouting_two:Shout")
    with pytest.raises(
        UserError, match="^shouting-two 1.2: this project already has a method called 'plain'; uninstall"
    ):
        make_method("plain", {})
    _install(site, "shouting_tri", SHOUT, "x = shouting_tri:Shout")
    (site / "shouting_two.py").write_text(SHOUT, encoding="utf-8")
    sys.modules.pop("shouting_two")
    with pytest.raises(
        UserError, match="^shouting-two 1.2: shouting-tri 1.2 already has a method called 'shout'; uninstall"
    ):
        make_method("plain", {})


@pytest.mark.parametrize(
    ("content", "entry", "message"),
    [
        ("Shout = 3", "m = shouting_bad:Shout", "not a Method with a name"),
        ("class Shout: name = 'shout'", "m = shouting_bad:Shout", "not a Method with a name"),
        ("from benchmark.methods import Method as Shout", "m = shouting_bad:Shout", "not a Method with a name"),
        ("", "m = shouting_bad:Shout", "AttributeError: .*; repair or uninstall shouting-bad 1.2"),
        ("import nowhere_to_be_found", "m = shouting_bad:Shout", "ModuleNotFoundError: .*; repair or uninstall"),
        ("raise ValueError('two\\nlines')", "m = shouting_bad:Shout", "ValueError: two lines; repair or uninstall"),
    ],
)
def test_the_error_for_an_entry_point_that_is_not_a_method_names_its_package(
    site: Path, content: str, entry: str, message: str
) -> None:
    _install(site, "shouting_bad", content, entry)
    with pytest.raises(UserError, match=f"^shouting-bad 1.2: entry point {entry}: {message}") as error:
        make_method("plain", {})
    assert "\n" not in str(error.value)


def test_a_distribution_can_be_imported_before_the_registry_is_asked_for(tmp_path: Path) -> None:
    _install(tmp_path, "shouting_first", SHOUT, "m = shouting_first:Shout")
    check = "import shouting_first, benchmark.methods as m; assert m.METHODS['shout'] is shouting_first.Shout"
    done = subprocess.run(
        [sys.executable, "-c", check],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
