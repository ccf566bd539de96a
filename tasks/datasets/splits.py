"""Splits: which labelled images train, which validate and which test, for ever.

A patient's hash decides once; after that the row in cxr.splits does, whatever becomes of labels, patient ids, shares.
Whoever may be the same patient counts as one: patients are joined where any label ever gave one image to both, and
where an image of the one shows the same picture as an image of the other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infra import database
from models.vocabulary import STRICTNESS
from sql.library import query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from infra.database import Cursor
    from models.data.near_duplicates import Pair
    from models.recipes.catalogue import Split


OF_A_PATIENT: Final = "patient has images in the {} set"
NEAR_DUPLICATE: Final = "near-duplicate of a {} image"


@dataclass(frozen=True, slots=True)
class Assigned:
    """How many images got their split now, and how many have one in all."""

    new: Mapping[str, int]
    total: Mapping[str, int]


def split_of(patient: str, validation_share: float, test_share: float) -> Split:
    """Say which split a new patient belongs to: the first 32 bits of the identifier's sha256 decide.

    The test set lies at the upper end and validation below it: a larger test share takes patients in and lets none out.

    Args:
        patient: the identifier.
        validation_share: share of patients that validate, 0 to 1.
        test_share: share that tests.
    """
    place = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
    if place >= 1 - test_share:
        return "test"
    return "validation" if place >= 1 - test_share - validation_share else "train"


def assign(pool: sa.Engine, validation_share: float, test_share: float) -> Assigned:
    """Give each labelled image that has none its split, for ever; safe to repeat.

    An image of a patient who is in a split goes there too; of a patient in several, to the strictest one.

    Args:
        pool: connections to the database.
        validation_share: share of new patients that validate.
        test_share: share that tests.

    Raises:
        DatabaseError: Postgres failed; nothing was assigned.
    """
    with database.transaction(pool) as cursor:
        # One at a time: two would put a new patient's images into two splits where the shares differ.
        cursor.execute(query("transaction_lock"), {"lock": "cxr.assign_splits"})
        known, patients = read_splits(cursor), read_patients(cursor)
        fresh = [content for content in patients if content not in known]
        rows: list[tuple[str, str, str]] = []
        if fresh:
            words, pairs = read_words(cursor), read_pairs(cursor)
            given = proposed(patients, known, words, pairs, validation_share, test_share)
            rows = [(content, patients[content], given[content]) for content in fresh]
            database.copy(cursor, "cxr.splits (content_sha256, patient_id, split)", rows)
    new = Counter(split for *_, split in rows)
    return Assigned(new, Counter(known.values()) + new)


def read_splits(cursor: Cursor) -> dict[str, str]:
    """Read the split of each content that has one."""
    cursor.execute(query("splits"))
    return {row.content_sha256: row.split for row in cursor.fetchall()}


def read_patients(cursor: Cursor) -> dict[str, str]:
    """Read whose each labelled content is, by its current label."""
    cursor.execute(query("labelled_patients"))
    return {row.content_sha256: row.patient_id for row in cursor.fetchall()}


def read_words(cursor: Cursor) -> list[tuple[str, str]]:
    """Read which content was ever said to be which patient's, as (content, patient)."""
    cursor.execute(query("label_words"))
    return [(row.content_sha256, row.patient_id) for row in cursor.fetchall()]


def read_pairs(cursor: Cursor) -> list[tuple[str, str]]:
    """Read the pairs of contents that show the same picture."""
    cursor.execute(query("near_duplicates"))
    return [(row.content_sha256, row.other_sha256) for row in cursor.fetchall()]


def proposed(
    patients: Mapping[str, str], known: Mapping[str, str], words: Iterable[tuple[str, str]],
    near: Iterable[tuple[str, str]], validation_share: float, test_share: float,
) -> dict[str, str]:  # fmt: skip
    """Say which split each image that has none gets.

    Args:
        patients: whose each labelled content is.
        known: the split of each content that has one.
        words: as for `left_out`; each content of `patients` is among them.
        near: as for `left_out`.
        validation_share: share of new patients that validate.
        test_share: share that tests.
    """
    groups = people(words, near)
    strictest = _strictest(known, groups)
    fresh = [content for content in patients if content not in known]
    # All patients of a group share the hash of one of them.
    first: dict[int, str] = {}
    for content in fresh:
        group = groups[content]
        first[group] = min(first.get(group, patients[content]), patients[content])
    return {
        content: strictest.get(groups[content]) or split_of(first[groups[content]], validation_share, test_share)
        for content in fresh
    }


def left_out(
    splits: Mapping[str, str], words: Iterable[tuple[str, str]], near: Iterable[tuple[str, str]] = ()
) -> dict[str, str]:
    """Say which images must not be used in their split, and why: a stricter split shows the same patient or picture.

    Args:
        splits: the split of each content that has one.
        words: (content, patient) of each label ever written, superseded ones included.
        near: pairs of contents that show the same picture.

    Returns:
        For each such content of train or validation the reason.
    """
    pairs = list(near)
    found = {}
    for pair in pairs:
        for one, other in (pair, pair[::-1]):
            split, others = splits.get(one), splits.get(other)
            if split and others and STRICTNESS[others] > STRICTNESS[split]:
                found[one] = NEAR_DUPLICATE.format(others)
    groups = people(words, pairs)
    strictest = _strictest(splits, groups)
    for content, split in splits.items():
        if content in groups and STRICTNESS[strictest[groups[content]]] > STRICTNESS[split]:
            found.setdefault(content, OF_A_PATIENT.format(strictest[groups[content]]))
    return found


def people(words: Iterable[tuple[str, str]], near: Iterable[tuple[str, str]] = ()) -> dict[str, int]:
    """Number the people: contents are of one group where a chain of patients, contents and same pictures joins them.

    Args:
        words: as for `left_out`.
        near: as for `left_out`.

    Returns:
        The number of whoever each content shows.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    contents: dict[str, int] = {}
    patients: dict[str, int] = {}
    rows, columns = [], []
    links = [(content, f"patient {patient}") for content, patient in words]
    links += [(content, f"picture {number}") for number, pair in enumerate(near) for content in pair]
    for content, what in links:
        rows.append(contents.setdefault(content, len(contents)))
        columns.append(patients.setdefault(what, len(patients)))
    if not contents:
        return {}
    size = len(contents) + len(patients)
    joined = coo_array(([1] * len(rows), (rows, [len(contents) + one for one in columns])), shape=(size, size))
    _, numbers = connected_components(joined, directed=False)
    return {content: int(numbers[place]) for content, place in contents.items()}


def named(groups: Mapping[str, int]) -> dict[str, str]:
    """Name the people of `people` by what they are of, the same in each run: by the smallest content of the group.

    Their numbers follow the order of the rows, which a database gives as it likes.

    Returns:
        The name of whoever each content shows.
    """
    names: dict[int, str] = {}
    for content, number in groups.items():
        names[number] = min(names.get(number, content), content)
    return {content: names[number] for content, number in groups.items()}


def _strictest(splits: Mapping[str, str], groups: Mapping[str, int]) -> dict[int, str]:
    strictest: dict[int, str] = {}
    for content, split in splits.items():
        if content in groups:
            strictest[groups[content]] = max(strictest.get(groups[content], "train"), split, key=STRICTNESS.__getitem__)
    return strictest


def remember(pool: sa.Engine, contents: Sequence[str], pairs: Iterable[Pair]) -> int:
    """Keep pairs for ever: an image of the test set may be gone when the other one comes to be trained on again.

    Args:
        pool: connections to the database.
        contents: sha256 of each image, in the order of the array that `find` was given.
        pairs: what `find` found.

    Returns:
        How many were not known before.
    """
    rows = [(*sorted((contents[pair.i], contents[pair.j])), pair.similarity) for pair in pairs]
    with database.transaction(pool) as cursor:
        cursor.execute(query("near_duplicate_table"))
        database.copy(cursor, "near_duplicate", rows)
        cursor.execute(query("write_near_duplicates"))
        return cursor.rowcount
