"""The command line `cxr`: each command's --help says what it does and shows an example."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import typer

from flows.commands import champion, data, demo, doctor, explain, labels, model, night, recipes, stack, tournament
from models.errors import is_explained

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="cxr",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Score new chest X-rays every night: from an S3 bucket to rows in Postgres, watched in Prefect.\n\n"
    "Start with `cxr up` (or `make demo`), then `cxr labels import`, "
    "`cxr retrain`, `cxr score`, `cxr status`. Research use, not for diagnosis.",
)

PREFECT_FLUSH_S = 10
"""Seconds that Prefect gets to send its events and logs after the command has printed its result."""

COMMANDS: dict[str, list[Callable[..., None]]] = {
    "Nights": [night.score, night.status, night.replay, night.release, night.report],
    "Models": [model.retrain, model.card, explain.explain],
    "Recipes": [recipes.recipes, tournament.tournament, tournament.crossvalidate],
    "Services": [stack.up, stack.down, stack.migrate, doctor.doctor, stack.psql, stack.serve],
    "Trying it out": [demo.demo, demo.phantoms, demo.upload],
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
for group in (data.data, labels.labels, champion.app):
    app.add_typer(group, rich_help_panel="Models")


def main() -> None:
    """Run a command. An expected error ends in its message, not in a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise TensorFlow logs CPU features and missing GPUs
    code = 1
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except Exception as error:
        if not is_explained(error):
            raise
        print(f"cxr: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        if "prefect" in sys.modules:
            threading.Thread(target=_end_soon, args=(code,), daemon=True).start()


def _end_soon(code: int) -> None:
    """End the process, even if Prefect is still busy.

    When Python exits, Prefect sends the rest of its events and logs to its server. If the server is gone, it retries
    for many minutes, and the user waits at the terminal.
    """
    time.sleep(PREFECT_FLUSH_S)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
