"""The command line: one click group, each command in a module of its own and imported when asked for."""

import importlib
import io
import sys
from collections.abc import Sequence

import click

import traincheck
from traincheck.errors import TrainCheckError, one_line

__all__ = ["check_main", "collect_main", "infer_main", "main"]

# command -> module of this package; `import` is a word of the language
_COMMANDS = {
    "collect": "collect",
    "infer": "infer",
    "check": "check",
    "run": "run",
    "diff": "diff",
    "explain": "explain",
    "show": "show",
    "query": "query",
    "rules": "rules",
    "import": "import_",
}

EXIT_USAGE = 2
EXIT_INTERRUPTED = 128 + 2
EXIT_PIPE = 128 + 13


class _LazyGroup(click.Group):
    """Loads a command's module only when that command runs, so that `--help` and `collect` start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"traincheck.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(traincheck.__version__, prog_name="traincheck")
def cli() -> None:
    """Catch silent training bugs: collect a trace, infer invariants from good runs, check new runs."""


def _run(arguments: Sequence[str]) -> int:
    """Run one command; 1 means violations and nothing else, so every error of ours is 2."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(list(arguments), prog_name="traincheck", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("traincheck: interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except TrainCheckError as error:
        click.echo(f"traincheck: {error}", err=True)
        return EXIT_USAGE
    except SystemExit as error:  # click leaves with 1 when the reader of our output has gone
        return EXIT_PIPE if error.code else 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        click.echo(f"traincheck: {one_line(f'{place}{error.strerror or error}')}", err=True)
        return EXIT_USAGE
    except Exception:
        import traceback

        traceback.print_exc()
        click.echo("traincheck: internal error, please report it with the lines above", err=True)
        return EXIT_USAGE
    return status if isinstance(status, int) else 0


def main() -> None:
    """Entry point of `traincheck`."""
    sys.exit(_run(sys.argv[1:]))


def collect_main() -> None:
    """Entry point of `traincheck-collect`."""
    sys.exit(_run(["collect", *sys.argv[1:]]))


def infer_main() -> None:
    """Entry point of `traincheck-infer`."""
    sys.exit(_run(["infer", *sys.argv[1:]]))


def check_main() -> None:
    """Entry point of `traincheck-check`."""
    sys.exit(_run(["check", *sys.argv[1:]]))
