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
    """Delete the trained weights of finished cells from the store; records and all other artifacts stay."""
    from benchmark.runs.prune import prune as delete
    from benchmark.runs.prune import to_prune
    from benchmark.store.artifacts import Store
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import find_suite, load_suite

    made = make_plan(load_suite(find_suite(suite)))
    store, folder = Store(results / "store"), records or results / "records"
    if dry_run:
        calls = to_prune(made, store, folder)
        count, size = len(calls), sum(store.size(call) for call in calls)
    else:
        count, size = delete(made, store, folder)
    if as_json:
        print(json.dumps({"suite": made.suite.name, "trainings": count, "bytes": size, "removed": not dry_run}))
    else:
        done = "would be removed" if dry_run else "removed"
        print(f"suite {made.suite.name}: {count} trainings, {size / 2**20:,.1f} MiB {done}")
