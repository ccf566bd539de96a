"""The command line `cxr`: each command's --help teaches what it does and shows an example."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from flows import demo, doctor, model, night, stack

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="cxr",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Score new chest X-rays every night: from an S3 bucket to rows in Postgres, watched in Prefect.\n\n"
    "Start with `cxr up` (or `make demo`), then `cxr score`, `cxr status`. Research use, not for diagnosis.",
)

COMMANDS: dict[str, list[Callable[..., None]]] = {
    "Nights": [night.score, night.status, night.replay, night.release, night.report],
    "Models and labels": [model.train, model.promote, model.label],
    "Services": [stack.up, stack.down, stack.migrate, doctor.doctor, stack.psql, stack.serve],
    "Trying it out": [demo.demo, demo.phantoms, demo.upload],
}
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main() -> None:
    """Run a command; an error that we foresaw ends in its message, not in a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow tells of CPU features and absent GPUs otherwise
    try:
        app()
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"infra", "tasks", "models"}:
            raise
        print(f"cxr: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
