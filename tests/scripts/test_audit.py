"""The scan for known vulnerabilities, with a stand-in for pip-audit."""

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
HOLED = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]}
UNMENDED = {"name": "old", "version": "3.0", "vulns": [{"id": "PYSEC-2", "fix_versions": [], "aliases": []}]}


def audit(folder: Path, says: str, code: int = 0, complains: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script where `python -m pip_audit` says and returns this; it notes what it was asked."""
    (folder / "pip_audit.py").write_text(
        "import sys\n"
        f"open({str(folder / 'asked')!r}, 'w').write('\\n'.join(sys.argv[1:]))\n"
        f"print({says!r}); print({complains!r}, file=sys.stderr); sys.exit({code})\n"
    )
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), "--ignore-vuln", "X-1"]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )


def packages(*some: dict[str, Any]) -> str:
    return json.dumps({"dependencies": some, "fixes": []})


def test_a_known_vulnerability_fails_and_names_the_package_and_the_remedy(tmp_path: Path) -> None:
    done = audit(tmp_path, packages(CLEAN, HOLED, UNMENDED, SKIPPED), code=1)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "audit: bad 2.0: PYSEC-1; mended in 2.1: make lock",
        "audit: old 3.0: PYSEC-2; no release mends it yet",
        "audit: 3 packages checked, 2 known vulnerabilities; not known to the database, and not checked: private",
    ]


def test_without_a_known_vulnerability_it_passes_and_says_how_many_were_checked(tmp_path: Path) -> None:
    done = audit(tmp_path, packages(CLEAN, CLEAN))
    assert (done.returncode, done.stdout) == (0, "audit: 2 packages checked, no known vulnerabilities\n")
    asked = (tmp_path / "asked").read_text().splitlines()
    locks = {Path(file).name for option, file in itertools.pairwise(asked) if option == "--requirement"}
    assert locks == {file.name for file in ROOT.glob("requirements*.lock")}
    assert asked[-2:] == ["--ignore-vuln", "X-1"]


@pytest.mark.parametrize(
    ("says", "code", "complains"),
    [
        (packages(SKIPPED), 0, "No known vulnerabilities found"),
        ("", 1, "Traceback (most recent call last):\nrequests.exceptions.ConnectionError: Max retries exceeded"),
        ("", 1, "pip_audit._service.interface.ServiceError: 503"),
    ],
)
def test_a_database_that_cannot_be_had_is_one_line_and_no_failure(
    tmp_path: Path, says: str, code: int, complains: str
) -> None:
    done = audit(tmp_path, says, code, complains)
    assert done.returncode == 0
    assert done.stdout == "audit: the database of known vulnerabilities cannot be had here; NO package was checked\n"


def test_a_scan_that_breaks_for_another_reason_fails(tmp_path: Path) -> None:
    done = audit(tmp_path, "", 1, "No module named pip_audit")
    assert done.returncode == 1
    assert done.stderr == "audit: pip-audit failed: No module named pip_audit\n"
