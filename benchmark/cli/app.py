"""The command `benchmark`: every command is registered here.

The modules of the commands import heavy libraries inside their functions, so that `benchmark --help` answers at once.
"""

import typer

import benchmark
from benchmark.cli.adopt import adopt, ask
from benchmark.cli.augment import augment
from benchmark.cli.corpus import corpus
from benchmark.cli.doctor import doctor
from benchmark.cli.exits import run_command
from benchmark.cli.figures import figures
from benchmark.cli.leaderboard import leaderboard_app
from benchmark.cli.new import new
from benchmark.cli.people import people
from benchmark.cli.plan import plan
from benchmark.cli.prune import prune
from benchmark.cli.reproduce import reproduce
from benchmark.cli.run import run
from benchmark.cli.score import score
from benchmark.cli.show import show_app
from benchmark.cli.stage import stage
from benchmark.cli.status import status
from benchmark.cli.zoo import zoo_app

COMMANDS = (
    *(run, corpus, plan, status, prune),
    *(adopt, ask),
    *(score, augment, people, new, doctor),
    *(figures, reproduce, stage),
)

app = typer.Typer(
    help=benchmark.__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(leaderboard_app, name="leaderboard")
app.add_typer(show_app, name="show")
app.add_typer(zoo_app, name="zoo")


def main() -> None:
    """Run the command line on the process's arguments."""
    run_command(app)
