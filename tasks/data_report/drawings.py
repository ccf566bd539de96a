"""The drawings of the data report, each with alternative text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.plots import pictures
from tasks.data_report.people import NOT_GIVEN, OTHER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.data_report.facts import Facts
    from tasks.data_report.people import People
    from tasks.data_report.survey import Survey

    View = dict[str, Any]


def draw_images(facts: Facts, survey: Survey) -> View:
    """Return the drawings and pictures of the images, by the name that the template uses."""
    from models.plots.data import Group, box_plot, class_balance, grey_distributions, highest_share, size_scatter

    classes = list(enumerate(facts.classes))
    measured = [[survey.measurements[row] for row in np.flatnonzero(survey.labels == place)] for place, _ in classes]
    counts = "; ".join(f"{one.name} {one.images:,} images of {one.patients:,} patients" for _, one in classes)
    alike = "; ".join(
        f"{one} and {other} share {stored:.0%} as stored and {prepared:.0%} after preprocessing"
        for one, other, stored, prepared in facts.overlaps
    )
    sizes = "; ".join(f"{one.name} {one.width[1]:,.0f} by {one.height[1]:,.0f}" for _, one in classes)
    top = highest_share([shares.tolist() for one in facts.classes for shares in (one.original, one.prepared)])
    return {
        "balance": class_balance([Group(one.name, place, [one.images], [one.patients]) for place, one in classes],
                        f"Bars: {counts}"),
        "stored": grey_distributions(
            [Group(one.name, place, one.original.tolist()) for place, one in classes], top,
            f"Distributions of the grey values by class, as stored: {alike}", "stored",
        ),
        "prepared": grey_distributions(
            [Group(one.name, place, one.prepared.tolist()) for place, one in classes], top,
            f"Distributions of the grey values by class, after preprocessing: {alike}", "prepared",
        ),
        "sizes": size_scatter(
            [Group(one.name, place, [file.width or 0 for file in measured[place]],
                   [file.height or 0 for file in measured[place]]) for place, one in classes],
            f"Width and height of the images by class; medians in pixels: {sizes}",
        ),
        "aspect": box_plot(
            [Group(one.name, place, [file.aspect or 0 for file in measured[place]]) for place, one in classes],
            "width ÷ height", "Aspect ratios by class, medians: "
            + "; ".join(f"{one.name} {one.aspect[1]:.2f}" for _, one in classes), "aspect",
        ),
        "kilobytes": box_plot(
            [Group(one.name, place, [file.n_bytes / 1000 for file in measured[place]]) for place, one in classes],
            "size of the file, kB", "Sizes of the files by class, medians in kB: "
            + "; ".join(f"{one.name} {one.kilobytes[1]:,.0f}" for _, one in classes), "kilobytes",
        ),
        **_templates(facts),
    }  # fmt: skip


def draw_people(people: People, number: int, places: Mapping[str, int]) -> View:
    """Return the drawing of ages.

    Args:
        people: the people to draw.
        number: the index of this section on the page.
        places: the classes' colour indices, so that a finding with a class's name has its colour.
    """
    from models.plots.data import NO_SERIES, Group, box_plot

    if not any(people.ages.values()):
        return {"ages": None}
    taken = {OTHER: NO_SERIES, NOT_GIVEN: NO_SERIES} | dict(places)
    groups = [
        Group(f"{name} (n = {len(people.ages[name])})", taken.setdefault(name, len(taken) - 2), people.ages[name])
        for name in people.findings
    ]  # fmt: skip
    said = "; ".join(f"{name} {np.median(ages):.0f}" for name, ages in people.ages.items() if ages)
    return {"ages": box_plot(groups, "age, years", f"Ages by finding, medians: {said}", f"ages-{number}", wide=True)}


def _templates(facts: Facts) -> View:
    """The mean pictures and their differences, all on one scale."""
    from models.plots.data import difference_colours, mean_difference_jpeg

    whole = facts.mean
    reach = max(float(np.abs(one.mean - whole).max()) for one in facts.classes)
    return {
        "whole": pictures.radiograph_jpeg(whole.round().astype(np.uint8)),
        "templates": [
            {
                "name": one.name,
                "images": one.images,
                "mean": pictures.radiograph_jpeg(one.mean.round().astype(np.uint8)),
                "difference": mean_difference_jpeg(one.mean, whole, reach),
                "most": float(np.abs(one.mean - whole).max()),
            }
            for one in facts.classes
        ],
        "reach": reach,
        "scale": difference_colours(),
    }
