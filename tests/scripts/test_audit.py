"""The check for known vulnerabilities, with a fake pip-audit."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import ROOT

CLEAN = {"name": "good", "version": "1.0", "vulns": []}
SKIPPED = {"name": "private", "skip_reason": "Dependency not found"}
VULNERABLE = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]}
UNFIXED = {"name": "old", "version": "3.0", "vulns": [{"id": "PYSEC-2", "fix_versions": [], "aliases": []}]}


def audit(folder: Path, output: str, code: int = 0, error: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script with a fake pip_audit that prints and returns this, and writes its arguments to a file."""
    (folder / "pip_audit.py").write_text(
        "import sys\n"
        f"open({str(folder / 'arguments')!r}, 'w').write('\\n'.join(sys.argv[1:]))\n"
        f"print({output!r}); print({error!r}, file=sys.stderr); sys.exit({code})\n"
    )
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), "--ignore-vuln", "X-1"]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )


def report(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_a_known_vulnerability_fails_and_names_the_package_and_the_remedy(tmp_path: Path) -> None:
    done = audit(tmp_path, report(CLEAN, VULNERABLE, UNFIXED, SKIPPED), code=1)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "audit: bad 2.0: PYSEC-1; fixed in 2.1: make lock",
        "audit: old 3.0: PYSEC-2; no release fixes it yet",
        "audit: 3 packages checked, 2 known vulnerabilities; unknown to the database and not checked: private",
    ]


def test_without_a_known_vulnerability_it_passes_and_prints_the_number_of_packages(tmp_path: Path) -> None:
    done = audit(tmp_path, report(CLEAN, CLEAN))
    assert (done.returncode, done.stdout) == (0, "audit: 2 packages checked, no known vulnerabilities\n")
    arguments = (tmp_path / "arguments").read_text().splitlines()
    locks = {Path(file).name for option, file in itertools.pairwise(arguments) if option == "--requirement"}
    assert locks == {file.name for file in ROOT.glob("requirements*.lock")}
    assert arguments[-2:] == ["--ignore-vuln", "X-1"]


@pytest.mark.parametrize(
    ("output", "code", "error"),
    [
        (report(SKIPPED), 0, "No known vulnerabilities found"),
        ("", 1, "Traceback (most recent call last):\nrequests.exceptions.ConnectionError: Max retries exceeded"),
        ("", 1, "pip_audit._service.interface.ServiceError: 503"),
    ],
)
def test_an_unreachable_database_prints_one_line_and_is_no_failure(
    tmp_path: Path, output: str, code: int, error: str
) -> None:
    done = audit(tmp_path, output, code, error)
    assert done.returncode == 0
    assert done.stdout == "audit: the database of known vulnerabilities cannot be reached; NO package was checked\n"


def test_any_other_error_of_pip_audit_fails(tmp_path: Path) -> None:
    done = audit(tmp_path, "", 1, "No module named pip_audit")
    assert done.returncode == 1
    assert done.stderr == "audit: pip-audit failed: No module named pip_audit\n"
