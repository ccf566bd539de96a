"""Discovery: find every new object once, whatever its name, in a fixed number of statements."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from psycopg2.extras import LoggingConnection, LoggingCursor, NamedTupleCursor

from infra import database
from tasks.radiographs import fetching
from tasks.scoring import discovery, runs
from tasks.scoring.discovery import Discovered, expand
from tests.support.nights import Nights, failed, quarantined, scored

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.storage import Store
    from tests.support.databases import Database

ODD = (
    "with space.png",
    " leading and trailing .png",
    "Thorax späť 胸部 🫁.png",
    "plus+percent%20%2F%.png",
    "100%.png",
    "quote'double\"back`tick.png",
    "comma,semicolon;pipe|tab\there.png",
    "back\\slash\\N\\..png",
    "new\nline.png",
    "carriage\rreturn.png",
    "angle<&>amp;.png",
    "hash#question?=&.png",
    "e\u0301 is not \u00e9.png",
    "/".join(["segment-" + "x" * 170] * 5) + "/deep.png",
    "~tilde(paren)[bracket]{brace}!*$@^.PNG",
    "no suffix at all",
    "NULL",
    "\\.",
)


def put(store: Store, *keys: str, data: bytes = b"x", prefix: str = "incoming/") -> None:
    for key in keys:
        store.write(prefix + key, data)


def find(pool: sa.Engine, store: Store, settings: Settings, *prefixes: str) -> Discovered:
    return discovery.discover(pool, store, settings, prefixes or ("incoming/",))


def test_objects_with_odd_names_are_found_once_and_can_be_read(
    db: Database, pool: sa.Engine, store: Store, settings: Settings, nights: Nights
) -> None:
    put(store, *ODD)
    assert find(pool, store, settings) == Discovered(len(ODD), len(ODD), 0)
    assert {key for (key,) in db.rows("select object_key from cxr.images")} == {f"incoming/{key}" for key in ODD}
    assert find(pool, store, settings).new == 0
    run_id = nights.begin(bucket=settings.bucket)
    for reference in discovery.begin(pool, run_id, 0):
        assert store.read(reference.key, reference.etag) == b"x"
    assert max(len(key) for key in ODD) > 880


def test_a_reference_shows_no_key_where_it_is_printed() -> None:
    assert "DOE" not in repr(fetching.Reference(1, "incoming/DOE.png", "e", 1, made=False))


def test_a_changed_object_is_new_and_an_unchanged_one_is_not(
    db: Database, pool: sa.Engine, store: Store, settings: Settings
) -> None:
    put(store, "a.png", "b.png")
    find(pool, store, settings)
    put(store, "a.png", data=b"changed")
    assert find(pool, store, settings) == Discovered(2, 1, 0)
    assert db.value("select count(distinct etag) from cxr.images where object_key = 'incoming/a.png'") == 2


def test_an_older_file_put_back_is_the_newest_version_again(
    db: Database, pool: sa.Engine, store: Store, settings: Settings, nights: Nights
) -> None:
    for content in (b"first", b"second", b"first"):
        put(store, "a.png", data=content)
        find(pool, store, settings)
    run_id = nights.begin(bucket=settings.bucket)
    first, second = (one.image_id for one in discovery.begin(pool, run_id, 0))
    nights.commit(run_id, scored(first, "first", "NORMAL"), scored(second, "second", "PNEUMONIA"))
    nights.finish(run_id)
    assert db.rows("select predicted_class from analysis.latest_prediction") == [("NORMAL",)]


def test_what_is_no_image_by_its_suffix_is_skipped_and_counted(
    db: Database, pool: sa.Engine, store: Store, settings: Settings
) -> None:
    put(store, "a.png", "notes.txt", "sheet.CSV", "b.jpg.part", "folder.txt/c.png")
    assert find(pool, store, settings) == Discovered(2, 2, 3)
    assert db.value("select count(*) from cxr.images") == 2


def test_made_prefixes_mark_their_rows_and_only_those(
    db: Database, pool: sa.Engine, store: Store, settings: Settings
) -> None:
    put(store, "a.png")
    put(store, "b.png", prefix="made/")
    find(pool, store, settings, "incoming/", "made/")
    assert db.rows("select object_key, made from cxr.images order by 1") == [
        ("incoming/a.png", False),
        ("made/b.png", True),
    ]


def test_overlapping_prefixes_do_not_double_an_object(
    db: Database, pool: sa.Engine, store: Store, settings: Settings
) -> None:
    put(store, "2026/a.png")
    night = date(2026, 5, 7)
    prefixes = expand(["incoming/", "incoming/%Y/", "incoming/2026/a", "incoming/"], night, 3)
    assert prefixes == ["incoming/"]
    assert find(pool, store, settings, "incoming/", "incoming/2026/") == Discovered(2, 1, 0)
    assert db.value("select count(*) from cxr.images") == 1


@pytest.mark.parametrize(
    ("prefix", "night", "back", "expected"),
    [
        ("in/%Y/%m/%d/", date(2026, 1, 1), 2, ["in/2025/12/30/", "in/2025/12/31/", "in/2026/01/01/"]),
        ("in/%Y/%m/%d/", date(2028, 3, 1), 1, ["in/2028/02/29/", "in/2028/03/01/"]),
        ("in/%Y-%m/", date(2026, 5, 2), 3, ["in/2026-04/", "in/2026-05/"]),
        ("in/", date(2026, 5, 2), 3, ["in/"]),
        ("in/%Y/", date(2026, 5, 2), 0, ["in/2026/"]),
        ("100%% späť/", date(2026, 5, 2), 5, ["100% späť/"]),
        ("", date(2026, 5, 2), 5, [""]),
    ],
)
def test_a_date_pattern_stands_for_each_day_of_the_look_back(
    prefix: str, night: date, back: int, expected: list[str]
) -> None:
    assert expand([prefix], night, back) == expected


def test_a_date_patterned_night_finds_its_days_and_no_others(pool: sa.Engine, store: Store, settings: Settings) -> None:
    put(store, "2026/05/07/a.png", "2026/05/06/b.png", "2026/05/04/c.png", "2026/05/08/d.png")
    prefixes = expand(["incoming/%Y/%m/%d/"], date(2026, 5, 7), 2)
    assert find(pool, store, settings, *prefixes).new == 2


class Log:
    """The statements that psycopg2 has logged."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def write(self, text: str) -> None:
        self.statements.append(text)


class LoggingNamedTupleCursor(LoggingCursor, NamedTupleCursor):
    """As psycopg2's, with rows as steps expect them."""


class LoggedConnection(LoggingConnection):
    """A connection that logs the statements of every cursor."""

    def cursor(self, *args: Any, **options: Any) -> LoggingNamedTupleCursor:
        return super().cursor(*args, **options | {"cursor_factory": LoggingNamedTupleCursor})


@pytest.mark.parametrize("objects", [3, 60])
def test_the_number_of_statements_does_not_grow_with_the_objects(
    db: Database, store: Store, settings: Settings, objects: int
) -> None:
    log = Log()

    def connect() -> LoggedConnection:
        import psycopg2

        connection: LoggedConnection = psycopg2.connect(db.url(), connection_factory=LoggedConnection)
        connection.initialize(log)
        return connection

    pool = sa.create_engine("postgresql+psycopg2://", creator=connect, poolclass=sa.NullPool)
    put(store, *[f"{n}.png" for n in range(objects)])
    settled = [find(pool, store, settings).new, find(pool, store, settings).new]
    assert settled == [objects, 0]
    ours = [text for text in log.statements if "listing" in text]
    assert 4 <= len(ours) <= 12
    log.statements.clear()
    run_id = uuid4()
    with database.transaction(pool) as cursor:
        cursor.execute(
            "insert into cxr.runs (run_id, flow, bucket, night, code_version) values (%s, 'f', 'b', now(), '1')",
            (str(run_id),),
        )
    assert discovery.claim(pool, settings, run_id, retry_failed=True) == [discovery.Shard(0, objects, suspect=False)]
    assert len(discovery.begin(pool, run_id, 0)) == objects
    assert len(log.statements) <= 12


def test_a_listing_that_breaks_off_writes_nothing(
    db: Database, pool: sa.Engine, store: Store, settings: Settings
) -> None:
    from infra.storage import StorageError

    put(store, "a.png")

    class Breaking:
        bucket = store.bucket

        def list(self, prefix: str):  # noqa: ANN202 - as Store's
            yield from store.list(prefix)
            raise StorageError("the object store cannot be reached")

    with pytest.raises(StorageError):
        discovery.discover(pool, Breaking(), settings, ["incoming/"])  # type: ignore[arg-type]
    assert db.value("select count(*) from cxr.images") == 0


def test_a_claim_lays_everything_out_in_shards_of_the_asked_size(nights: Nights) -> None:
    nights.listed(*[f"{n}" for n in range(7)])
    nights.listed("other", bucket="other")
    run_id = nights.begin(shard_size=3)
    assert nights.shards == [(0, 3), (1, 3), (2, 1)]
    ids = [[one.image_id for one in discovery.begin(nights.pool, run_id, n)] for n in range(3)]
    assert [len(shard) for shard in ids] == [3, 3, 1]
    assert [*ids[0], *ids[1], *ids[2]] == sorted([*ids[0], *ids[1], *ids[2]])


def test_what_a_dead_run_left_is_claimed_and_what_it_decided_is_not(nights: Nights) -> None:
    one, two, three = nights.listed("a", "b", "c")
    dead = nights.begin()
    nights.commit(dead, scored(one, "x"), quarantined(two))
    run_id = nights.begin()
    assert [reference.image_id for reference in discovery.begin(nights.pool, run_id, 0)] == [three]
    assert discovery.begin(nights.pool, dead, 0) == []


def test_a_failed_image_is_tried_on_so_many_nights_and_then_left(db: Database, nights: Nights) -> None:
    (one,) = nights.listed("a")
    claimed = []
    for _ in range(5):
        run_id = nights.begin()
        claimed.append(len(nights.shards))
        nights.commit(run_id, failed(one))
        nights.finish(run_id)
    assert claimed == [1, 1, 1, 0, 0]
    assert db.rows("select state, attempts from cxr.images") == [("failed", 3)]


def test_a_failed_image_is_left_alone_where_retries_are_not_asked_for(nights: Nights) -> None:
    (one,) = nights.listed("a")
    nights.night(failed(one))
    nights.begin(retry_failed=False)
    assert nights.shards == []


def test_a_failed_image_that_is_scored_later_counts_for_the_later_night_only(nights: Nights) -> None:
    (one,) = nights.listed("a")
    first = nights.night(failed(one))
    second = nights.night(scored(one, "x"))
    assert runs.count(nights.pool, [first]).discovered == 0
    assert runs.count(nights.pool, [second]).scored == 1


def test_an_image_that_kills_its_runs_is_set_apart_behind_the_others_and_given_up_in_the_end(
    db: Database, nights: Nights
) -> None:
    poison, *good = nights.listed("poison", "a", "b", "c", "d")
    decided = []
    for _ in range(5):
        run_id = nights.begin(shard_size=3)
        done = 0
        for shard in nights.claimed:
            images = [one.image_id for one in discovery.begin(nights.pool, run_id, shard.number)]
            if poison in images:
                break  # the process is gone
            nights.commit(run_id, *(scored(one, str(one)) for one in images))
            done += len(images)
        decided.append(done)
    assert decided == [0, 0, 2, 2, 0]
    state, reasons = db.rows("select state, reasons from cxr.images where image_id = %s", poison)[0]
    assert state == "failed"
    assert "given up: 4 runs died" in reasons[0]
    assert {row[0] for row in db.rows("select state from cxr.images where image_id = any(%s)", good)} == {"scored"}


def test_runs_that_end_in_order_blame_no_image(db: Database, nights: Nights) -> None:
    nights.listed("a", "b")
    for _ in range(6):
        run_id = nights.begin()
        discovery.begin(nights.pool, run_id, 0)
        nights.finish(run_id, "failed")
    assert nights.claimed == [discovery.Shard(0, 2, suspect=False)]
    assert db.rows("select distinct crashes, state from cxr.images") == [(0, "pending")]


def test_what_the_system_itself_wrote_is_never_found(
    db: Database, nights: Nights, store: Store, settings: Settings
) -> None:
    put(store, "models/sample.png", "reports/2026-01-01/a.png", "a.png", prefix="")
    discovery.discover(nights.pool, store, settings, [""])
    assert db.rows("select object_key from cxr.images") == [("a.png",)]
