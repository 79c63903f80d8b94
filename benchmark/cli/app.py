"""The commands. Heavy imports stand inside them, so that `benchmark --help` answers at once."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from traceback import format_exception
from typing import Annotated, Any

import typer

from benchmark.cli.figures import figures
from benchmark.cli.leaderboard import board_commands
from benchmark.cli.options import model_spec, named_values, one_of, writable
from benchmark.cli.reproduce import reproduce
from benchmark.cli.show import show_commands
from benchmark.cli.stage import stage
from benchmark.core import signals as stop
from benchmark.core.errors import USER_ERRNOS, UserError, clean, hide_secrets, nearest

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(__import__("benchmark").__doc__),
)
zoo_commands = typer.Typer(
    no_args_is_help=True, help="The tiny pair that ships with the project.", rich_markup_mode=None
)
app.add_typer(board_commands, name="leaderboard")
app.add_typer(show_commands, name="show")
app.command()(figures)
app.add_typer(zoo_commands, name="zoo")
app.command()(reproduce)
app.command()(stage)

RESULTS = Path("results")
SuiteArgument = Annotated[str, typer.Argument(help="name of a shipped suite, or a path to a .yaml file")]
ResultsOption = Annotated[Path, typer.Option(help="folder of artifacts and records")]
RecordsOption = Annotated[Path | None, typer.Option(help="folder of the records [default: RESULTS/records]")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="processes [default: as the cores allow]")]
PlainOption = Annotated[bool, typer.Option("--plain", help="progress as lines")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON for machines")]


@app.command()
def run(
    suite: SuiteArgument = "smoke",
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    workers: WorkersOption = None,
    executor: Annotated[str, typer.Option(help="where stages run: local, docker or ray")] = "local",
    containers: Annotated[
        Path | None, typer.Option(help="with docker: YAML file of the containers' settings (docs/scale_out.md)")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="with ray: YAML file of the cluster's settings (docs/scale_out.md)")
    ] = None,
    remote: Annotated[
        str | None, typer.Option(help="with ray: where artifacts go from node to node, as s3://bucket/folder")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="of an hour of one worker, to say what the run costs")
    ] = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do what is missing of a suite, write records, print the board."""
    from benchmark.suite.schema import find_suite, load_suite

    one_of("--executor", executor, ("local", "docker", "ray"))
    for option, value, needs in (
        ("containers", containers, "docker"),
        ("cluster", cluster, "ray"),
        ("remote", remote, "ray"),
    ):
        if value and executor != needs:
            raise UserError(f"--{option}: is for --executor {needs} alone; leave it out, or add that")
    where = None
    if executor == "docker":
        where = _docker(containers, workers)
    elif executor == "ray":
        where = _ray(cluster, workers, remote)
    _run(load_suite(find_suite(suite)), results, records, workers, plain, as_json, where, price)


def _docker(file: Path | None, workers: int | None) -> Any:
    """An executor with the settings of a file; --workers goes before what it says."""
    from benchmark.executors.containers import read_settings

    settings = read_settings(file)
    if workers:
        settings = settings.model_copy(update={"workers": workers})

    def execute(store: Any, calls: Any, threads: int, shown: Any, done: Any) -> None:
        from benchmark.executors.docker import run_in_containers

        run_in_containers(store, calls, settings, threads, shown.progress, done, shown.note, shown.start)

    return execute


def _ray(file: Path | None, workers: int | None, remote: str | None) -> Any:
    """An executor with the settings of a file; --workers goes before what it says."""
    from importlib.util import find_spec

    from benchmark.executors.cluster import Cluster
    from benchmark.executors.settings import settings_from
    from benchmark.store.remote import Remote

    settings = settings_from(Cluster, file)
    if workers:
        settings = settings.model_copy(update={"workers": workers})
    place = Remote(remote) if remote else None
    if find_spec("ray") is None:
        raise UserError("--executor ray: Ray is not installed; pip install -r requirements-ray.lock")

    def execute(store: Any, calls: Any, threads: int, shown: Any, done: Any) -> None:
        from benchmark.executors.ray import run_on_cluster

        run_on_cluster(store, calls, settings, place, threads, shown.progress, done, shown.note, shown.start)

    return execute


@app.command()
def corpus(
    path: Annotated[Path, typer.Argument(help="documents: JSONL, CSV or Parquet, or a folder with documents.*")],
    questions: Annotated[Path | None, typer.Option(help="file of questions, if they are not there")] = None,
    shots: Annotated[Path | None, typer.Option(help="file of questions and answers to show as examples")] = None,
    column: Annotated[list[str] | None, typer.Option(help="what a column is called, as text=body; may recur")] = None,
    free_answers: Annotated[bool, typer.Option("--free-answers", help="answers need not stand in the text")] = False,
    fold_characters: Annotated[
        bool, typer.Option("--fold-characters", help="characters that look alike count as equal")
    ] = False,
    model: Annotated[str, typer.Option(help="to train: zoo:NAME, hub id, folder or .gguf file")] = "zoo:large",
    small: Annotated[str | None, typer.Option(help="the model to contrast it with")] = None,
    methods: Annotated[
        str | None, typer.Option(help="as plain,random_dropout [default: what the models allow]")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="optimizer steps")] = 400,
    seeds: Annotated[str, typer.Option(help="as 1,2,3")] = "1",
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    workers: WorkersOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare methods on your own documents: write a suite for them, run it, print the board."""
    from benchmark.suite.own_documents import content_for, write_suite

    listed = seeds.split(",")
    if not all(seed.strip().isdecimal() and len(seed) < 20 for seed in listed):
        raise UserError(f"--seeds {seeds}: expected numbers with commas between them, as 1,2,3")
    task = {
        "path": path,
        "questions": questions,
        "shots": shots,
        "columns": named_values("--column", column, "text=body"),
        "answers_in_text": "free" if free_answers else None,
        "characters": "folded" if fold_characters else None,
    }
    names = [name.strip() for name in methods.split(",")] if methods else []
    file, suite = write_suite(content_for(task, model, small, names, steps, [int(seed) for seed in listed]), results)
    if not as_json:
        print(f"{file}: the suite, to edit and run with `benchmark run {file}`", flush=True)
    _run(suite, results, records, workers, plain, as_json)


@app.command()
def plan(
    suite: SuiteArgument = "smoke",
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    stages: Annotated[Path | None, typer.Option(help="folder to write a file to for every stage to do")] = None,
    memory: Annotated[bool, typer.Option("--memory", help="what each stage needs, and where it fits")] = False,
    gpu: Annotated[str | None, typer.Option(help="with --memory: GiB of a GPU, as 80g [default: usual sizes]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what would run, what is there already, and what it will cost; with --memory, what fits where."""
    from collections import Counter

    from benchmark.runs.prechecks import check_cells
    from benchmark.runs.runner import missing
    from benchmark.store.artifacts import Store
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import find_suite, load_suite

    if memory or gpu is not None:
        from benchmark.cli.memory import show_memory

        show_memory(load_suite(find_suite(suite)), memory, gpu, stages is not None, as_json)
        return
    made = make_plan(load_suite(find_suite(suite)))
    good, todo = missing(made, records or results / "records")
    check_cells(made, todo, results, remember=False)
    store = Store(results / "store")
    calls = made.calls()
    there = [call for call in calls if store.has(call)]
    keys_todo = {call.key for cell in todo for call in cell.stages.values()}
    seconds: dict[str, list[float]] = {}
    for call in there:
        seconds.setdefault(call.stage, []).append(store.cost(call).seconds)
    to_do = [call for call in calls if call.key in keys_todo and not store.has(call)]
    left = Counter(call.stage for call in to_do)
    known = {stage: sum(values) / len(values) for stage, values in seconds.items()}
    estimate = (
        sum(count * known[stage] for stage, count in left.items()) if all(stage in known for stage in left) else None
    )
    summary: dict[str, Any] = {
        "suite": made.suite.name,
        "device": made.device,
        "cells": len(made.cells),
        "cells_done": len(good),
        "stages": dict(Counter(call.stage for call in calls)),
        "stages_left": dict(left),
        "worker_seconds_left": round(estimate) if estimate is not None else None,
    }
    if stages is not None:
        from benchmark.store.calls import write_calls

        summary["stage_files"] = [str(file) for file in write_calls(stages, to_do)]
    if as_json:
        print(json.dumps(summary))
        return
    from tabulate import tabulate

    print(f"suite {made.suite.name} on {made.device}: {len(made.cells)} cells, {len(good)} of them done")
    rows = [
        [stage, count, left.get(stage, 0), f"{known[stage]:.1f}" if stage in known else "-"]
        for stage, count in summary["stages"].items()
    ]
    print(tabulate(rows, headers=["stage", "in all", "to do", "seconds each, so far"]))
    print(
        "worker seconds left: "
        + (f"about {estimate:.0f}" if estimate is not None else "not known before one of each stage is done")
    )
    if stages is not None:
        print(f"{stages}: {len(summary['stage_files'])} files, one for each stage to do, for `benchmark stage`")


@app.command()
def status(
    results: ResultsOption = RESULTS,
    watch: Annotated[bool, typer.Option("--watch", help="again every few seconds, until Ctrl-C")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say how far the runs in a results folder are: what is done, under way and where, time left, cost."""
    from benchmark.cli.status import show_status

    show_status(results, watch, as_json)


@app.command()
def prune(
    suite: SuiteArgument,
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would go, and remove nothing")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the trained weights of finished cells from the store; records and all else stay."""
    from benchmark.runs.prune import prune as remove
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
        count, size = remove(made, store, folder)
    if as_json:
        print(json.dumps({"suite": made.suite.name, "trainings": count, "bytes": size, "removed": not dry_run}))
    else:
        done = "would be removed" if dry_run else "removed"
        print(f"suite {made.suite.name}: {count} trainings, {size / 2**20:,.1f} MiB {done}")


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="zoo:NAME, hub id, folder or .gguf file")],
    texts: Annotated[Path, typer.Option(help='one {"id": …, "text": …} a line')],
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    minus: Annotated[str | None, typer.Option(help="small model whose scores are taken off")] = None,
    reduction: Annotated[str, typer.Option(help="received, received_strict, released or loss")] = "received",
    prefix: Annotated[str, typer.Option(help="put before every text, not scored; auto: docs/suite_file.md")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Score the tokens of texts by received attention or by loss, in a model or in a large minus a small one."""
    from benchmark.core.files import replacing
    from benchmark.data.attention import REDUCTIONS
    from benchmark.data.texts import read_texts, write_scores
    from benchmark.scoring.scores import contrast

    one_of("reduction", reduction, REDUCTIONS)
    writable(out)
    corpus = read_texts(texts)
    scores = _scores(model, corpus, reduction, prefix, dtype, device)
    if minus:
        scores = contrast(scores, _scores(minus, corpus, reduction, prefix, dtype, device))
    with replacing(out) as temporary:
        write_scores(temporary, scores)
    print(f"{out}: {len(scores)} texts, {sum(len(row.token) for row in scores)} tokens")


@app.command()
def augment(
    method: Annotated[str, typer.Argument(help="name of a method")],
    texts: Annotated[Path, typer.Option(help='one {"id": …, "text": …} a line')],
    out: Annotated[Path, typer.Option(help="JSON lines to write")],
    large: Annotated[str | None, typer.Option(help="the large model, or the one whose own scores are used")] = None,
    small: Annotated[str | None, typer.Option(help="the small model of the pair")] = None,
    copies: Annotated[int, typer.Option(min=1, help="of every text, beside the original")] = 10,
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="a parameter, as alpha=0.6; may come again")] = None,
    prefix: Annotated[str, typer.Option(help="put before every text, not scored; auto: docs/suite_file.md")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    report: Annotated[bool, typer.Option("--report", help="say what the copies keep of the facts, too")] = False,
) -> None:
    """Write the training texts that a method makes of a corpus.

    With --report: how much longer the copies are, and in how many of them a fact stands whole, and beside the subject's
    name. Facts are what the texts' "entities" mark, but for mentions of the "subject".
    """
    from benchmark.core.files import replacing
    from benchmark.data.texts import read_texts, write_lines
    from benchmark.methods import augment as make_texts
    from benchmark.methods import make_method
    from benchmark.models.loading import tokenizer_of
    from benchmark.scoring.requests import combined, score_requests
    from benchmark.scoring.scores import tokens_of

    chosen = make_method(method, named_values("--set", set_, "alpha=0.6"))
    writable(out)
    corpus = read_texts(texts)
    if chosen.reads != "nothing" and not large:
        raise UserError(f"method {method!r} looks at tokens: name a model with --large")
    if chosen.reads == "difference" and not small:
        raise UserError(f"method {method!r} contrasts two models: name the other one with --small")
    models = {"trained": str(large), "large": str(large), "small": str(small)}
    tokens = combined(
        {
            request.role: _scores(
                models[request.role], corpus, request.reduction, request.prefix, dtype, device, request.part
            )
            for request in score_requests(chosen, "received", prefix)
        }
    )
    if chosen.reads == "tokens":
        tokens = tokens_of(tokenizer_of(model_spec(str(large))), corpus)
    made = list(make_texts(chosen, corpus, tokens, copies, seed))
    with replacing(out) as temporary:
        write_lines(temporary, made)
    print(f"{out}: {len(made)} texts from {len(corpus)}")
    if report:
        print(_report(corpus, made, large))
    if changes := chosen.training().model_dump(mode="json", exclude_defaults=True):
        told = ", ".join(f"{key} {json.dumps(value)}" for key, value in changes.items())
        print(f"{method} also changes training ({told}): these texts alone are not the method; a suite does the rest")


def _report(corpus: list[Any], made: list[Any], model: str | None) -> str:
    """What copies keep, in a line: tokens of a model, or without one words; and the facts that the texts mark."""
    from benchmark.corpora.base import Facts
    from benchmark.models.loading import tokenizer_of
    from benchmark.stages.facts import count_facts

    def words(texts: list[str], **_: object) -> dict[str, list[list[str]]]:
        return {"input_ids": [text.split() for text in texts]}

    marked = {}
    for text in corpus:
        entities = (text.text[start:end] for start, end in text.entities)
        marked[text.id] = Facts(text.subject, [[told] for told in entities if told != text.subject])
    copies = [text for text in made if text.copy > 0]
    if not copies:
        return "no copies: this method changes no text"
    counts = count_facts(corpus, copies, marked, tokenizer_of(model_spec(model)) if model else words)
    told = [f"{counts['copies']} copies, {'tokens' if model else 'words'} {counts['tokens']:+.1%}"]
    if counts["facts"]:
        told.append(f"{counts['answer']:.1%} of {counts['facts']} facts whole")
    else:
        told.append('no facts counted: no text has "entities"')
    if counts["answer_and_name"] is not None:
        told.append(f"{counts['answer_and_name']:.1%} whole beside the subject's name")
    return "; ".join(told)


@app.command()
def people(
    out: Annotated[Path, typer.Option(help="JSON lines to write")],
    count: Annotated[int, typer.Option(min=2)] = 100,
    seed: int = 2026,
    order: Annotated[str, typer.Option(help="of the facts: fixed, shuffled, or fields with commas between")] = "fixed",
    wordings: Annotated[int, typer.Option(min=1, max=5, help="how many a fact's wording is drawn from")] = 1,
    names: Annotated[str, typer.Option(help="after the first sentence: pronouns or full")] = "pronouns",
) -> None:
    """Make up people for the biography task: a file for `path` of a suite, `biography_path` of lm-eval.

    None has the name of somebody the tiny pair was trained on or is shown as an example. The default gives the shipped
    people; order, wordings and names change how they are told about, not who they are.
    """
    from benchmark.core.files import replacing
    from benchmark.data.people import TRAINED_ON, Telling, as_lines, make_people
    from tasks.biography import biography

    one_of("names", names, ("pronouns", "full"))
    telling = Telling(_fields_in_order(order), wordings, names == "full", seed)
    writable(out)
    shots = {person["name"] for person in biography.read_shots()}
    shipped = {person["name"] for person in biography.read_people()}
    trained_on = {person.name for person in make_people(*TRAINED_ON, shots | shipped)}
    try:
        with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(as_lines(make_people(count, seed, shots | trained_on), telling))
    except ValueError as error:
        raise UserError(f"--count: {error}; ask for fewer") from None
    print(f"{out}: {count} people")


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="method, task or model")],
    name: Annotated[str, typer.Argument(help="what suites will call it")],
    model: Annotated[str | None, typer.Option(help="of a new model: hub id, folder or .gguf file")] = None,
) -> None:
    """Write a new method, task or model from a template that works as it is, and say how to check it."""
    from benchmark.templates.create import KINDS, create

    one_of("kind", kind, KINDS)
    files, check = create(kind, name, model)
    for file in files:
        print(file)
    print(f"then: {check}")


@app.command()
def doctor(results: ResultsOption = RESULTS, as_json: JsonOption = False) -> None:
    """Say whether this machine is ready: device, driver, memory, disk, locks, hub, clock, Docker; and the remedies."""
    from benchmark.doctor import examine

    findings = examine(results)
    if as_json:
        print(json.dumps([finding.__dict__ for finding in findings]))
    else:
        for finding in findings:
            print(
                f"{'ok  ' if finding.ok else 'note'} {finding.what}: {finding.found}"
                + ("" if finding.ok else f" ({finding.remedy})")
            )


@zoo_commands.command("train")
def zoo_train(
    name: Annotated[str, typer.Argument(help="large or small")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Train a model of the tiny pair from scratch, as the shipped one was (the large in about an hour and a half)."""
    import torch

    from benchmark.models.zoo.recipe import SHAPES, train
    from tasks.biography import biography

    one_of("model of the pair", name, tuple(SHAPES))
    torch.set_num_threads(threads)
    people = [*biography.read_people(), *biography.read_shots()]
    train(name, out, {person["name"] for person in people}, lambda line: print(line, flush=True))


def _run(
    chosen: Any,
    results: Path,
    records: Path | None,
    workers: int | None,
    plain: bool,
    as_json: bool,
    executor: Any = None,
    price: float | None = None,
) -> None:
    from benchmark.runs.recording import record_path
    from benchmark.runs.runner import run_suite

    folder = records or results / "records"
    outcome = run_suite(chosen, results, folder, workers, plain or None, executor, price)
    if as_json:
        print(
            json.dumps(
                {"suite": chosen.name, "cells": len(outcome.records), "made": outcome.made, "stages": outcome.stages}
            )
        )
        return
    from rich.console import Console

    from leaderboard.board.cache import remembered_board
    from leaderboard.views.terminal import print_board

    found = [(record_path(folder, outcome.plan, cell), outcome.records[cell.key]) for cell in outcome.plan.cells]
    print_board(remembered_board(found, results / ".boards" / f"{chosen.name}.json"), Console())
    what = f"{outcome.made} made now" if outcome.made else "nothing to do, all were there"
    print(f"{chosen.name}: {len(outcome.records)} cells, {what}; records in {folder / chosen.name}")


def _scores(
    model: str, corpus: list[Any], reduction: str, prefix: str, dtype: str, device: str, part: Any = None
) -> list[Any]:
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.scoring.scores import score_texts
    from benchmark.suite.plan import find_device

    one_of("dtype", dtype, ("float32", "bfloat16", "float16"))
    one_of("device", device, ("auto", "cpu", "cuda"))
    spec = model_spec(model, dtype)
    return score_texts(
        load_model(spec, find_device(device)), tokenizer_of(spec), corpus, reduction=reduction, prefix=prefix, part=part
    )


def _fields_in_order(words: str) -> tuple[str, ...] | None:
    """The order of the facts that --order asks for; None stands for one drawn per person."""
    from benchmark.data.people import FIELDS

    if words in ("fixed", "shuffled"):
        return FIELDS if words == "fixed" else None
    order = tuple(word.strip() for word in words.split(","))
    for field in order:
        if field not in FIELDS:
            known = list(FIELDS) if len(order) > 1 else ["fixed", "shuffled", *FIELDS]
            raise UserError(f"--order: unknown field {field!r}; {nearest(field, known)}")
    if sorted(order) != sorted(FIELDS):
        raise UserError(f"--order {words}: every field has to stand there once: {', '.join(FIELDS)}")
    return order


def main() -> None:
    """Run the command line. A user's mistake is one line on stderr and exit code 2, Ctrl-C one and exit code 130."""
    sys.excepthook = lambda kind, error, trace: print(
        hide_secrets("".join(format_exception(error))), end="", file=sys.stderr
    )
    with stop.listening():
        try:
            _command()
        except SystemExit as end:
            if end.code and (stop.first_signal() or end.code == 130):  # 130 is what typer makes of KeyboardInterrupt
                stop.exit_stopped()
            raise
        except Exception as error:
            if stop.first_signal():  # a library may have made another exception of it
                stop.exit_stopped()
            _tell(error)
            raise


def _command() -> None:
    """Do what the arguments say, to the last byte of what is printed."""
    try:
        app()
    except SystemExit as end:
        if not end.code:
            sys.stdout.flush()
        raise


def _tell(error: Exception) -> None:
    """Say an error in a line and exit, if it is one that has a line."""
    from benchmark.core.errors import StageFailed

    if isinstance(error, UserError):
        code, line = 2, clean(str(error))  # the message may quote a file that steers terminals
    elif isinstance(error, StageFailed):
        code, line = 1, hide_secrets(str(error))
    elif isinstance(error, BrokenPipeError):  # nobody reads on (`| head`)
        code, line = 1, ""
    elif isinstance(error, OSError) and error.errno in USER_ERRNOS:
        code, line = 2, f"{error.filename or 'disk'}: {error.strerror}; free it or give another folder"
    else:
        return
    _let_go_of_output()
    if line:
        with suppress(OSError):  # the terminal may be what is gone
            print(f"error: {line}", file=sys.stderr)
    raise SystemExit(code) from None


def _let_go_of_output() -> None:
    """Leave nothing in stdout that Python would try to write once more at its end, and exit with 120 for."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
