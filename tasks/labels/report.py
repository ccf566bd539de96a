"""Messages about labels for the terminal: the result of an import, and the current state. They may name keys."""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from infra import database
from sql.library import query
from tasks.labels.importing import NO_IMAGE, UNKNOWN_CLASS, Disputes
from tasks.pages.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from tasks.labels.importing import ImportResult, ResolveResult
    from tasks.labels.sheets import RowNote

MAX_NAMED: Final = 10
"""Most items of one kind to name: a sheet with the wrong column as `label` has thousands."""
MIN_PREFIX_LETTERS: Final = 4
"""Letters of a prefix that can stand for a class: COVID."""
TYPO_SIMILARITY: Final = 0.86
"""Similarity from which one spelling counts as a typo of the other. ABNORMAL is not a typo of NORMAL."""


def import_lines(result: ImportResult) -> list[str]:
    """Return the result of an import as lines; counts of zero are left out."""
    if not result.rows:
        return ["no rows: the sheet has only a header, or the folder has no images"]
    lines = [f"{counted(result.rows, 'row')}: {counted(result.new, 'new label')}"]
    if result.changed:
        lines[0] += f", {result.changed:,} changed"
    if result.same:
        lines[0] += f", {result.same:,} unchanged"
    lines += _unknown(result)
    if result.unmatched:
        lines.append(f"{counted(len(result.unmatched), 'row')} waiting for images that have not been seen yet:")
        lines += _named([f"row {row.line}: {row.name}" for row in result.unmatched])
    for found, words in (
        (result.refused, "refused" if len(result.refused) == result.rows else "refused; the others were imported"),
        (result.left_out, "left out on purpose"),
        (result.notes, "imported without a value"),
    ):
        lines += _listed(found, words)
    return lines + _resolved(result.resolved) + _disputes(result.disputes)


def status_lines(pool: sa.Engine, bucket: str) -> list[str]:
    """Return lines with the number of labels by class, source and split, and what is unresolved."""
    with database.transaction(pool) as cursor:
        cursor.execute(query("label_counts"))
        counts = cursor.fetchall()
        cursor.execute(query("label_state"), {"bucket": bucket})
        state = cursor.fetchall()[0]
        cursor.execute(query("waiting_label_counts"), {"bucket": bucket})
        waiting = cursor.fetchall()
    lines = [f"{counted(state.images, 'labelled image')}"]
    for what in ("class", "source", "split"):
        found = [row for row in counts if row.what == what]
        if found:
            lines.append(f"by {what}: " + ", ".join(f"{row.name} {row.images:,}" for row in found))
    if state.unassigned:
        lines.append(f"{counted(state.unassigned, 'image')} without a split yet; the next retraining assigns them")
    lines.append(f"{counted(state.fresh, 'image')} with a label new since the last retraining")
    lines += _disputes(Disputes(state.disputed, state.adjudicated, state.patients_disputed))
    if state.near_duplicates:
        lines.append(f"{counted(state.near_duplicates, 'pair')} of near-duplicates across splits")
    for why in (UNKNOWN_CLASS, NO_IMAGE):
        found = [row for row in waiting if row.why == why]
        if found:
            total = sum(row.labels for row in found)
            names = ", ".join(f"{row.label} {row.labels:,}" for row in found[:MAX_NAMED])
            lines.append(f"{counted(total, 'label')} waiting, {why}: {names}")
    return lines


def closest_class(label: str, classes: Sequence[str]) -> str | None:
    """Return the class that a label may be a typo or an abbreviation of."""
    folded = {_bare(one): one for one in classes}
    found = get_close_matches(_bare(label), folded, n=1, cutoff=TYPO_SIMILARITY)
    begun = [
        name
        for bare, name in folded.items()
        if len(_bare(label)) >= MIN_PREFIX_LETTERS and bare.startswith(_bare(label))
    ]
    return folded[found[0]] if found else begun[0] if len(begun) == 1 else None


def _unknown(result: ImportResult) -> list[str]:
    if not result.unknown:
        return []
    counts = Counter(row.label for row in result.unknown)
    named = []
    for name, number in counts.most_common(MAX_NAMED):
        meant = closest_class(name, result.classes)
        named.append(f"'{name}' ({counted(number, 'row')}" + (f"; did you mean {meant}?)" if meant else ")"))
    if len(counts) > MAX_NAMED:
        named.append(f"{len(counts) - MAX_NAMED} more")
    words = f"{counted(len(result.unknown), 'row')} waiting, unknown {'class' if len(counts) == 1 else 'classes'}: "
    words += f"{', '.join(named)}; known classes: {', '.join(result.classes)}. "
    words += "Correct the sheet and import it again, or accept a new class with --new-class NAME"
    return [words]


def _listed(found: Sequence[RowNote], words: str) -> list[str]:
    if not found:
        return []
    reasons = Counter(note.why for note in found)
    head = f"{counted(len({note.line for note in found}), 'row')} {words}:"
    if len(found) <= MAX_NAMED:
        return [head, *(f"  row {one.line}{f', {one.name}' if one.name else ''}: {one.why}" for one in found)]
    lines = [head]
    for why, number in reasons.most_common(MAX_NAMED):
        rows = [str(one.line) for one in found if one.why == why]
        lines.append(
            f"  {why}: {counted(number, 'row')} ({', '.join(rows[:MAX_NAMED])}{' ...' if number > MAX_NAMED else ''})"
        )
    if len(reasons) > MAX_NAMED:
        lines.append(f"  and {len(reasons) - MAX_NAMED} more reasons")
    return lines


def _named(items: Sequence[str]) -> list[str]:
    more = [f"  and {len(items) - MAX_NAMED:,} more"] if len(items) > MAX_NAMED else []
    return [*(f"  {item}" for item in items[:MAX_NAMED]), *more]


def _resolved(resolved: ResolveResult) -> list[str]:
    return [f"{counted(resolved.labels, 'waiting label')} became valid"] if resolved.labels else []


def _disputes(found: Disputes) -> list[str]:
    lines = []
    if found.images:
        lines.append(
            f"{counted(found.images, 'image')} with sources that disagree about the class: {found.adjudicated:,} "
            f"settled by adjudication, {found.images - found.adjudicated:,} by the latest label "
            "(analysis.label_conflicts)"
        )
    if found.patients:
        lines.append(
            f"{counted(found.patients, 'image')} that sources assign to different patients; none is in two splits"
        )
    return lines


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
