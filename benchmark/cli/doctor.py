"""`benchmark doctor`: is this machine ready?"""

import json

from benchmark.cli.options import RESULTS, JsonOption, ResultsOption


def doctor(results: ResultsOption = RESULTS, as_json: JsonOption = False) -> None:
    """Check this machine: device, driver, memory, disk, locks, hub, clock, Docker; print a remedy for each problem."""
    from benchmark.doctor import examine

    findings = examine(results)
    if as_json:
        print(json.dumps([finding.__dict__ for finding in findings]))
        return
    for finding in findings:
        line = f"{'ok  ' if finding.ok else 'note'} {finding.what}: {finding.found}"
        print(line if finding.ok else f"{line} ({finding.remedy})")
