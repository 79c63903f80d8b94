"""`benchmark prune`: delete the trained weights of finished cells."""

import json
from typing import Annotated

import typer

from benchmark.cli.options import RESULTS, JsonOption, RecordsOption, ResultsOption, SuiteArgument


def prune(
    suite: SuiteArgument,
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete the trained weights of finished cells from the store, and the unpacked GGUF models of a finished suite.

    Records and all other artifacts stay.
    """
    from benchmark.runs.folders import Folders
    from benchmark.runs.prune import prune as delete
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import find_suite, load_suite

    made, folders = make_plan(load_suite(find_suite(suite))), Folders.of(results, records)
    removed = delete(made, folders.store, folders.records, dry_run)
    if as_json:
        print(json.dumps({"suite": made.suite.name, **removed._asdict(), "removed": not dry_run}))
        return
    models = f", {removed.unpacked} unpacked models" if removed.unpacked else ""
    done = "would be removed" if dry_run else "removed"
    print(f"suite {made.suite.name}: {removed.trainings} trainings{models}, {removed.bytes / 2**20:,.1f} MiB {done}")
