"""Look the locked packages up in the database of known vulnerabilities, by pip-audit.

    python scripts/audit.py [options of pip-audit, such as --ignore-vuln ID]

Exit code 1 if one has a vulnerability. Where the database cannot be had, one line says so, and the exit code is 0: a
machine without network is no reason to fail, and no reason to call anything checked either.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-ray.lock", "requirements-dev.lock", "requirements-gpu.lock")
SECONDS = 600
# What pip-audit ends with, beside a traceback, where its service does not answer.
UNREACHED = re.compile("Connection|ConnectTimeout|ReadTimeout|ProxyError|SSLError|HTTPError|ServiceError")


def audit(*options: str) -> str | None:
    """What pip-audit says of the lock files as JSON; None if its database cannot be reached.

    Raises SystemExit if pip-audit fails for another reason.
    """
    locks = [part for lock in LOCKS for part in ("--requirement", str(ROOT / lock))]
    plain = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json", "--timeout", "10"]
    command = [sys.executable, "-m", "pip_audit", *locks, *plain, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.stdout.startswith("{"):
        return done.stdout
    if UNREACHED.search(done.stderr):
        return None
    last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    raise SystemExit(f"audit: pip-audit failed: {last[:300]}")


def report(found: str | None) -> tuple[list[str], int]:
    """Lines to print and the exit code, from what `audit` gave."""
    packages: list[dict[str, Any]] = json.loads(found)["dependencies"] if found else []
    checked = [package for package in packages if "skip_reason" not in package]
    if not checked:
        return ["audit: the database of known vulnerabilities cannot be had here; NO package was checked"], 0
    lines = []
    for package in checked:
        for one in package["vulns"]:
            mended = ", ".join(one["fix_versions"])
            remedy = f"mended in {mended}: make lock" if mended else "no release mends it yet"
            lines.append(f"audit: {package['name']} {package['version']}: {one['id']}; {remedy}")
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    beside = f"; not known to the database, and not checked: {', '.join(unknown)}" if unknown else ""
    told = f"audit: {len(checked)} packages checked, {len(lines) or 'no'} known vulnerabilities{beside}"
    return [*lines, told], int(bool(lines))


def main() -> int:
    """Audit and print; returns the exit code."""
    lines, code = report(audit(*sys.argv[1:]))
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
