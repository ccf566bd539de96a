"""Run campaigns for some minutes: `make soak MINUTES=2 SEED=7`.

Nights are killed at random instants and run again, files are damaged at random and read, and the gate, the ranking and
the look at drift are asked about answers that are drawn. They take turns. The last line holds their counts; each
violation has a line of its own before it, and the exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.files import Files
from tests.soak.nights import Nights
from tests.soak.simulations import Simulations

CAMPAIGNS = {"nights": Nights, "files": Files, "simulations": Simulations}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long, the servers' start included")
    parser.add_argument("--seed", type=int, default=None, help="of all that is drawn; a new one where it is not given")
    parser.add_argument("--only", default=",".join(CAMPAIGNS), help=f"of {', '.join(CAMPAIGNS)}, with commas between")
    given = parser.parse_args()
    wanted = given.only.split(",")
    if unknown := set(wanted) - set(CAMPAIGNS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CAMPAIGNS)}")
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    deadline = time.monotonic() + 60 * given.minutes
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    folder = Path(tempfile.mkdtemp(prefix="cxr-soak-"))
    campaigns = [CAMPAIGNS[name](seed, folder) for name in wanted]
    say(f"soaking for {given.minutes:g} minutes with seed {seed}")
    try:
        for one in campaigns:
            one.prepare()
        least_over = False
        while not least_over or time.monotonic() < deadline:
            for one in campaigns:
                one.round()
            least_over = True
    finally:
        for one in campaigns:
            one.end()
    violations = [words for one in campaigns for words in one.violations]
    for words in violations:
        say(f"VIOLATION {words}")
    say(f"seed {seed}: {'; '.join(one.told() for one in campaigns)}")
    return int(bool(violations))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
