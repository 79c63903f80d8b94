"""Check the locked packages for known vulnerabilities with pip-audit.

    python scripts/audit.py [options of pip-audit, such as --ignore-vuln ID]

Exit code 1 if a package has a vulnerability. Without network the exit code is 0, and one line says that nothing was
checked.
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
# Errors of pip-audit, beside a traceback, when its service does not answer.
UNREACHED = re.compile("Connection|ConnectTimeout|ReadTimeout|ProxyError|SSLError|HTTPError|ServiceError")


def audit(*options: str) -> str | None:
    """Report of pip-audit on the lock files, as JSON; None if its database cannot be reached.

    Raises:
        SystemExit: pip-audit fails for another reason.
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
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise SystemExit(f"audit: pip-audit failed: {last[:300]}")


def report(audited: str | None) -> tuple[list[str], int]:
    """Lines to print and the exit code, from the result of `audit`."""
    packages: list[dict[str, Any]] = json.loads(audited)["dependencies"] if audited else []
    checked = [package for package in packages if "skip_reason" not in package]
    if not checked:
        return ["audit: the database of known vulnerabilities cannot be reached; NO package was checked"], 0
    lines = []
    for package in checked:
        for vulnerability in package["vulns"]:
            fixed_in = ", ".join(vulnerability["fix_versions"])
            remedy = f"fixed in {fixed_in}: make lock" if fixed_in else "no release fixes it yet"
            lines.append(f"audit: {package['name']} {package['version']}: {vulnerability['id']}; {remedy}")
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    unchecked = f"; unknown to the database and not checked: {', '.join(unknown)}" if unknown else ""
    summary = f"audit: {len(checked)} packages checked, {len(lines) or 'no'} known vulnerabilities{unchecked}"
    return [*lines, summary], int(bool(lines))


def main() -> int:
    """Audit and print; returns the exit code."""
    lines, code = report(audit(*sys.argv[1:]))
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
