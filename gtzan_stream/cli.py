"""The commands of `gtzan-stream`.

demo | fetch | pack | index | info | verify | preview | replay | classify | compare | serve
"""

import sys

import typer

from gtzan_stream import console
from gtzan_stream.commands import examples, models, runs, serve, shards
from gtzan_stream.commands.interrupt import Interrupted
from gtzan_stream.commands.options import Version
from gtzan_stream.errors import BadSample, UserError, format_error

app = typer.Typer(
    help="Pack music into WebDataset shards, check and inspect them, classify audio files and compare runs.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # plain help: boxes leave half of a narrow terminal for the words
)
for command in (
    shards.demo,
    shards.fetch,
    shards.pack,
    shards.index,
    shards.info,
    shards.verify,
    examples.preview,
    examples.replay,
    models.classify,
    runs.compare,
    serve.serve,
):
    app.command()(command)


@app.callback()
def options(version: Version = False) -> None:
    """Handle options that come before a command."""


def main() -> None:
    """Run the command line. A user's mistake is one sentence on stderr and exit code 2, without a traceback."""
    try:
        console.escape_unprintable()
        console.show_compilation()
        app()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != 130:  # typer converts Ctrl-C to exit code 130
            raise
        console.print_error("gtzan-stream: interrupted")
        sys.exit(130)
    except Interrupted as stop:
        console.print_error(f"gtzan-stream: interrupted; {stop}")
        sys.exit(stop.code)
    except (UserError, BadSample, OSError) as error:
        console.print_error(f"gtzan-stream: {format_error(error)}")
        sys.exit(2)
