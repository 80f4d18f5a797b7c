"""The console script `softprompt`: find the command, run it, turn what went wrong into a sentence.

Imports nothing heavy: `softprompt --help` must answer at once, so every command imports what it
needs when it runs.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import softprompt
from softprompt.cli import (
    comparing,
    ensembles,
    exchanging,
    explaining,
    forgetting,
    looking,
    pretraining,
    searching,
    starting,
    training,
    using,
    verifying,
)
from softprompt.cli.console import warn
from softprompt.errors import SoftpromptError

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

app = typer.Typer(
    name="softprompt",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="One frozen language model, many tasks, each learned as a prompt of some 100 KB.",
    epilog="Begin with: softprompt quickstart",
)
for verbs in (
    starting,
    training,
    searching,
    comparing,
    using,
    ensembles,
    looking,
    explaining,
    verifying,
    forgetting,
    exchanging,
    pretraining,
):
    verbs.add_to(app)


@app.callback(invoke_without_command=True)
def softprompt_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(f"softprompt {softprompt.__version__}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong use or bad input, 130 interrupted.
    """
    with _quiet_libraries():
        try:
            code = app(list(arguments), prog_name="softprompt", standalone_mode=False)
        except SoftpromptError as error:
            typer.echo(f"error: {error}", err=True)
            return error.exit_code
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            return INTERRUPTED
        except Exception as error:
            # Typer's own complaints about arguments; their class moved between its versions.
            if not hasattr(error, "format_message"):
                raise
            typer.echo(f"error: {error.format_message().rstrip('.')}{_hint(error)}", err=True)
            return 2
    return code if isinstance(code, int) else 0


def run() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def _hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"; see: {context.command_path} --help" if context is not None else ""


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Libraries hold their tongue; a warning of ours becomes one line."""
    quiet = {
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "true",  # said outright, it also keeps quiet when we fork
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    }
    if not sys.stderr.isatty():  # on a terminal a download may show how far it is
        quiet["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    home = str(Path(softprompt.__file__).parent)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, UserWarning) and filename.startswith(home):
            warn(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield
