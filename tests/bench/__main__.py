"""Run the benchmark and print its table: `make bench`, `make bench ARGS="--only commit,discovery --quick"`.

The limits have the cores for themselves, and so has the night: the servers, which are other machines in a hospital, run
on other cores. The night that shares all cores with them is shown as well. What is compared is measured in turns, so
that a noisy machine slows both. Each part is printed when it is done.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench import cores, database_rows, limits, night, pictures, training
from tests.bench.site import Site
from tests.bench.table import Row, ratio, show, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


PARTS = ("throughput", "shared", "memory", "empty", "discovery", "commit", "training")
NIGHTLY = {"throughput", "shared", "memory", "empty"}
"""Parts that run whole nights, on pictures."""
FEW = 8
NIGHT_TARGET, SCRIPT_TARGET, MEMORY_TARGET = 0.8, 1.8, 1.1
DISCOVERY_TARGET, EMPTY_TARGET_S, COMMIT_TARGET = 1.3, 3.0, 20_000


@dataclass(frozen=True)
class Size:
    """How much is done."""

    drawn: int = 400
    images: int = 1000
    many: int = 5000
    rounds: int = 3
    known: int = 100_000
    new: int = 1000
    shards: int = 20
    learned: int = 600
    epochs: int = 4


QUICK = Size(drawn=40, images=200, many=1000, rounds=1, known=20_000, new=200, shards=4, learned=120, epochs=3)


class Bench:
    """The site with its pictures, and what was measured there."""

    def __init__(self, site: Site, size: Size, wanted: set[str]) -> None:
        self.site, self.size, self.wanted = site, size, wanted
        self.folder = site.objects

    def put_pictures(self) -> None:
        """Write the files that the parts need, before the object store starts and caches its folders."""
        self.folder.mkdir(parents=True)
        if self.wanted & NIGHTLY:
            drawn = pictures.draw(self.size.drawn)
            pictures.write(self.folder / "few", drawn, 0, FEW)
            pictures.write(self.folder / "night", drawn, FEW, self.size.images)
            if "memory" in self.wanted:
                pictures.write(self.folder / "many", drawn, FEW + self.size.images, self.size.many)
        if "discovery" in self.wanted:
            for place, count in (("known", self.size.known), ("new", self.size.new)):
                for number in range(count):
                    folder = self.folder / "objects" / place / f"{number // 1000:03d}"
                    if number % 1000 == 0:
                        folder.mkdir(parents=True)
                    (folder / f"{number:06d}.png").write_bytes(number.to_bytes(4))

    def throughput(self) -> Iterable[Row]:
        """Nights, their limits and the plain script in turns, on cores of their own."""
        own, others = cores.split()
        count = f"{len(own)} core" + "s" * (len(own) > 1)
        where = f"{self.size.images:,} images of 1024 x 1024, on {count}"
        with self.site.servers_on(others), cores.only(own):
            yield from self._throughput(f"{where}, servers on others", NIGHT_TARGET, SCRIPT_TARGET)

    def shared(self) -> Iterable[Row]:
        """The same, beside the servers on all cores."""
        own, others = cores.split()
        everything = f"{self.size.images:,} images of 1024 x 1024, on {len(own | others)} cores"
        yield from self._throughput(f"{everything} shared with the servers", None, SCRIPT_TARGET)

    def _throughput(self, where: str, night_target: float | None, script_target: float | None) -> Iterable[Row]:
        size = self.size
        decode, forward, cold, warm, cpu, whole, plain, plain_whole = ([] for _ in range(8))
        script = [sys.executable, "-m", "tests.bench.plain_script", "night/", str(self.site.artifact / "model.keras")]
        alone = [sys.executable, "-m", "tests.bench.limits"]
        alone += [str(self.site.objects / "night"), str(self.site.artifact), self.site.sha256]
        for turn in range(size.rounds):
            say(f"{where}: round {turn + 1} of {size.rounds}")
            limit = night.watch(alone, {}).answer
            decode.append(limit["decode"])
            forward.append(limit["forward"])
            (_, second), _ = night.nights(self.site, ["few/", "night/"])
            warm.append(second.images / second.seconds)
            cpu.append(1000 * second.cpu_s / second.images)
            with self.site.database() as url:
                watched = night.watch(script, {"CXR_DATABASE_URL": url})
            plain.append(watched.answer["images"] / watched.answer["seconds"])
            plain_whole.append(watched.answer["images"] / watched.seconds)
            (first,), watched = night.nights(self.site, ["night/"])
            cold.append(first.images / first.seconds)
            whole.append(first.images / watched.seconds)
        both = [limits.combined(*pair) for pair in zip(decode, forward, strict=True)]
        beside = f"limit {spread(both)}: OpenCV decodes {median(decode):,.0f}, forward {median(forward):,.0f}"
        script_beside = f"plain script {spread(plain)}"
        yield Row(where)
        yield Row("  a night, without start-up", f"{spread(warm)} /s", beside, ratio(warm, both), ">=", night_target)
        yield Row("  its processor time", f"{spread(cpu, '{:.1f}')} ms/image", "without the servers")
        yield Row("  a process's first night", f"{spread(cold)} /s", "limit as above", ratio(cold, both))
        yield Row(
            "  a night, without start-up", f"{spread(warm)} /s", script_beside, ratio(warm, plain), ">=", script_target
        )
        yield Row(
            "  whole processes, with start-up", f"{spread(whole)} /s", f"plain script {spread(plain_whole)}",
            ratio(whole, plain_whole),
        )  # fmt: skip

    def memory(self) -> Iterable[Row]:
        """Peak memory of a long night beside a short one."""
        say("memory")
        short = [night.nights(self.site, ["night/"])[0][0].peak_mib for _ in range(min(2, self.size.rounds))]
        long = night.nights(self.site, ["many/"])[0][0].peak_mib
        what = f"peak memory at {self.size.many:,} images"
        yield Row(
            what,
            f"{long:,.0f} MiB",
            f"at {self.size.images:,}: {spread(short)} MiB",
            long / median(short),
            "<=",
            MEMORY_TARGET,
        )

    def empty(self) -> Iterable[Row]:
        """Nights with nothing new, in a process that has run one before."""
        say("empty nights")
        (first, *empty), _ = night.nights(self.site, ["few/"] * (1 + 3 * self.size.rounds))
        seconds = [one.seconds for one in empty]
        beside = f"a night of {first.images}: {first.seconds:.1f} s"
        yield Row("an empty night", f"{spread(seconds, '{:.2f}')} s", beside, median(seconds), "<=", EMPTY_TARGET_S)

    def discovery(self) -> Iterable[Row]:
        """A few new objects among many known ones."""
        say("discovery")
        listing, discovering, new = database_rows.listed_and_discovered(
            self.site, "objects/known/", "objects/", self.size.rounds
        )
        what = f"discovery of {new:,} new among {self.size.known:,} known"
        beside = f"listing alone {spread(listing, '{:.1f}')} s"
        yield Row(
            what, f"{spread(discovering, '{:.1f}')} s", beside, ratio(discovering, listing), "<=", DISCOVERY_TARGET
        )

    def commit(self) -> Iterable[Row]:
        """Rows written by `tasks.scoring.predictions.commit`."""
        say("commit")
        rates = [
            [database_rows.committed_per_s(self.site, shards, size) for _ in range(self.size.rounds)]
            for shards, size in ((self.size.shards, 5000), (2 * self.size.shards, 256))
        ]
        yield Row(
            f"rows written, {self.size.shards} shards of 5,000",
            f"{spread(rates[0])} /s",
            "",
            median(rates[0]),
            ">=",
            COMMIT_TARGET,
        )
        yield Row(f"  {2 * self.size.shards} shards of 256", f"{spread(rates[1])} /s", "", median(rates[1]))

    def training(self) -> Iterable[Row]:
        """Training beside bare `model.fit`."""
        say("training")
        yield from training.rows(self.size.rounds, self.size.learned, self.size.epochs)


def say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}, with commas between")
    parser.add_argument("--quick", action="store_true", help="small numbers, one round: to see that it works")
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(","))
    if wanted - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(wanted - set(PARTS)))}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="cxr-bench-") as folder:
        Path(folder).chmod(0o711)  # as root, Postgres's own account must pass through
        site = Site(Path(folder))
        bench = Bench(site, QUICK if arguments.quick else Size(), wanted)
        say("drawing and writing the files")
        bench.put_pictures()
        say("starting the servers")
        with site:
            site.prepare_champion()
            if wanted & NIGHTLY:
                say("converting the champion")
                night.nights(site, ["few/"])
            parts: dict[str, Callable[[], Iterable[Row]]] = {name: getattr(bench, name) for name in PARTS}
            for name in PARTS:
                if name in wanted:
                    sys.stdout.write(f"\n{show(list(parts[name]()))}\n")
                    sys.stdout.flush()
    sys.stdout.write("\nMedians (smallest-largest); ratios are medians of ratios of neighbours.\n")


if __name__ == "__main__":
    main()
