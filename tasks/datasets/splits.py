"""Splits: assign labelled images permanently to training, validation or test.

A hash of the patient decides once. From then on the row in cxr.splits decides, even if labels, patient ids or shares
change. Patient ids that may mean the same person are merged: those that any label, current or not, gave to the same
image, and those with near-duplicate images.
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
    from models.data.near_duplicates import DuplicatePair
    from models.recipes.catalogue import Split


SAME_PATIENT: Final = "patient has images in the {} set"
NEAR_DUPLICATE: Final = "near-duplicate of a {} image"


@dataclass(frozen=True, slots=True)
class AssignedSplits:
    """The number of images per split: newly assigned, and in total."""

    new: Mapping[str, int]
    total: Mapping[str, int]


def split_of(patient: str, validation_share: float, test_share: float) -> Split:
    """Return the split of a new patient, from the first 32 bits of the sha256 of the identifier.

    Test takes the upper end of the range and validation the part below it. So a larger test share adds patients to the
    test set and removes none.

    Args:
        patient: the identifier.
        validation_share: share of patients for validation, 0 to 1.
        test_share: share of patients for test, 0 to 1.
    """
    place = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 2**32
    if place >= 1 - test_share:
        return "test"
    return "validation" if place >= 1 - test_share - validation_share else "train"


def assign(pool: sa.Engine, validation_share: float, test_share: float) -> AssignedSplits:
    """Assign a permanent split to each labelled image that has none. Idempotent.

    An image joins the split that its patient is in already, or the strictest one of several.

    Args:
        pool: connections to the database.
        validation_share: share of new patients for validation.
        test_share: share of new patients for test.

    Raises:
        DatabaseError: Postgres failed; nothing was assigned.
    """
    with database.transaction(pool) as cursor:
        # Concurrent assignments with different shares could put one new patient's images into two splits.
        cursor.execute(query("transaction_lock"), {"lock": "cxr.assign_splits"})
        known, patients = read_splits(cursor), read_patients(cursor)
        fresh = [content for content in patients if content not in known]
        rows: list[tuple[str, str, str]] = []
        if fresh:
            label_history, pairs = read_label_history(cursor), read_near_duplicates(cursor)
            assigned = propose(patients, known, label_history, pairs, validation_share, test_share)
            rows = [(content, patients[content], assigned[content]) for content in fresh]
            database.copy(cursor, "cxr.splits (content_sha256, patient_id, split)", rows)
    new = Counter(split for *_, split in rows)
    return AssignedSplits(new, Counter(known.values()) + new)


def read_splits(cursor: Cursor) -> dict[str, str]:
    """Read the split of each content that has one."""
    cursor.execute(query("splits"))
    return {row.content_sha256: row.split for row in cursor.fetchall()}


def read_patients(cursor: Cursor) -> dict[str, str]:
    """Read the patient of each labelled content, from its current label."""
    cursor.execute(query("labelled_patients"))
    return {row.content_sha256: row.patient_id for row in cursor.fetchall()}


def read_label_history(cursor: Cursor) -> list[tuple[str, str]]:
    """Read the (content, patient) pairs of all labels ever written, superseded ones included."""
    cursor.execute(query("label_words"))
    return [(row.content_sha256, row.patient_id) for row in cursor.fetchall()]


def read_near_duplicates(cursor: Cursor) -> list[tuple[str, str]]:
    """Read the pairs of contents that are near-duplicates."""
    cursor.execute(query("near_duplicates"))
    return [(row.content_sha256, row.other_sha256) for row in cursor.fetchall()]


def propose(
    patients: Mapping[str, str], known: Mapping[str, str], label_history: Iterable[tuple[str, str]],
    near_duplicates: Iterable[tuple[str, str]], validation_share: float, test_share: float,
) -> dict[str, str]:  # fmt: skip
    """Return the split that each content without one would get.

    Args:
        patients: the patient of each labelled content.
        known: the split of each content that has one.
        label_history: as for `exclusions`; covers every content in `patients`.
        near_duplicates: as for `exclusions`.
        validation_share: share of new patients for validation.
        test_share: share of new patients for test.
    """
    groups = group_by_person(label_history, near_duplicates)
    strictest = _strictest(known, groups)
    fresh = [content for content in patients if content not in known]
    # One patient id decides for the whole group, so that merged patients share a split.
    first: dict[int, str] = {}
    for content in fresh:
        group = groups[content]
        first[group] = min(first.get(group, patients[content]), patients[content])
    return {
        content: strictest.get(groups[content]) or split_of(first[groups[content]], validation_share, test_share)
        for content in fresh
    }


def exclusions(
    splits: Mapping[str, str], label_history: Iterable[tuple[str, str]], near_duplicates: Iterable[tuple[str, str]] = ()
) -> dict[str, str]:
    """Return the images that must not be used in their split, since a stricter split has the same patient or picture.

    Args:
        splits: the split of each content that has one.
        label_history: (content, patient) of each label ever written, superseded ones included.
        near_duplicates: pairs of contents that are near-duplicates.

    Returns:
        The reason for each such content in train or validation.
    """
    pairs = list(near_duplicates)
    reasons = {}
    for pair in pairs:
        for content, other in (pair, pair[::-1]):
            split, others = splits.get(content), splits.get(other)
            if split and others and STRICTNESS[others] > STRICTNESS[split]:
                reasons[content] = NEAR_DUPLICATE.format(others)
    groups = group_by_person(label_history, pairs)
    strictest = _strictest(splits, groups)
    for content, split in splits.items():
        if content in groups and STRICTNESS[strictest[groups[content]]] > STRICTNESS[split]:
            reasons.setdefault(content, SAME_PATIENT.format(strictest[groups[content]]))
    return reasons


def group_by_person(
    label_history: Iterable[tuple[str, str]], near_duplicates: Iterable[tuple[str, str]] = ()
) -> dict[str, int]:
    """Group contents by person: the connected components of the graph of contents, patient ids and near-duplicates.

    Args:
        label_history: as for `exclusions`.
        near_duplicates: as for `exclusions`.

    Returns:
        The group number of each content. Numbers depend on the order of the rows; see `group_names`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    contents: dict[str, int] = {}
    patients: dict[str, int] = {}
    rows, columns = [], []
    links = [(content, f"patient {patient}") for content, patient in label_history]
    links += [(content, f"picture {number}") for number, pair in enumerate(near_duplicates) for content in pair]
    for content, link in links:
        rows.append(contents.setdefault(content, len(contents)))
        columns.append(patients.setdefault(link, len(patients)))
    if not contents:
        return {}
    size = len(contents) + len(patients)
    joined = coo_array(([1] * len(rows), (rows, [len(contents) + column for column in columns])), shape=(size, size))
    _, numbers = connected_components(joined, directed=False)
    return {content: int(numbers[place]) for content, place in contents.items()}


def group_names(groups: Mapping[str, int]) -> dict[str, str]:
    """Name the groups of `group_by_person` by their smallest content, which is the same in each run.

    The group numbers are not: they follow the order of the rows, which the database does not guarantee.

    Returns:
        The group name of each content.
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


def store_near_duplicates(pool: sa.Engine, contents: Sequence[str], pairs: Iterable[DuplicatePair]) -> int:
    """Store near-duplicate pairs permanently: the pair still counts after one of its images is deleted.

    Args:
        pool: connections to the database.
        contents: sha256 of each image, in the order of the array given to `near_duplicates.find`.
        pairs: the result of `near_duplicates.find`.

    Returns:
        The number of new pairs.
    """
    rows = [(*sorted((contents[pair.i], contents[pair.j])), pair.similarity) for pair in pairs]
    with database.transaction(pool) as cursor:
        cursor.execute(query("near_duplicate_table"))
        database.copy(cursor, "near_duplicate", rows)
        cursor.execute(query("write_near_duplicates"))
        return cursor.rowcount
