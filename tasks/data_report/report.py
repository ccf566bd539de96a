"""The data report: what labelled images look like, and which shortcuts a model could learn from them.

One HTML page without scripts or other files. It shows radiographs, so it is patient data, but it names no image and no
patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from models.data.survey import SURVEY_SPEC
from models.plots.pictures import radiograph_jpeg
from models.radiographs.preprocessing import preprocess
from tasks.data_report import drawings
from tasks.data_report.warnings import warnings
from tasks.pages.model_figures import environment, made_warning
from tasks.pages.publishing import REPORTS, content_type
from tasks.radiographs.fetching import read_radiograph

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from infra.storage import Store
    from models.radiographs.radiograph import Limits
    from tasks.data_report.facts import Facts
    from tasks.data_report.people import People
    from tasks.data_report.survey import Survey
    from tasks.datasets.labelled_images import Collection, LabelledImage


MADE_ONLY: Final = "Made data (phantoms): no image here is of a patient."
SHEET, LABELS = "the metadata sheet", "the labels of the images"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEvidence:
    """What the page is based on: images, people, or both."""

    made_at: datetime
    collection: Collection | None = None
    survey: Survey | None = None
    facts: Facts | None = None
    pictures: Mapping[int, NDArray[np.uint8]] | None = None
    """Preprocessed images of the near-duplicates to show, by their index in the survey."""
    people: Mapping[str, People]
    """By source: `SHEET`, `LABELS`."""
    code_version: str


def pictures(survey: Survey, facts: Facts, limits: Limits) -> dict[int, NDArray[np.uint8]]:
    """Read again the images that the page shows: those of a few near-duplicates.

    An image that has disappeared in the meantime is left out.

    Raises:
        StorageError: the store as a whole is unreachable.
    """
    wanted = {place for one, other, _ in facts.duplicates.shown for place in (one, other)}
    found = {place: _picture(survey.images[place], limits) for place in sorted(wanted)}
    return {place: picture for place, picture in found.items() if picture is not None}


def render(evidence: DataEvidence, timezone: str = "UTC") -> str:
    """Return the report as one HTML page.

    Args:
        evidence: the contents.
        timezone: the time zone for displayed times.
    """
    facts = evidence.facts
    return (
        environment()
        .get_template("data_report.html")
        .render(
            evidence=evidence,
            facts=facts,
            collection=evidence.collection,
            classes=[one.name for one in facts.classes] if facts else [],
            warning=_made(facts),
            warnings=warnings(facts, evidence.collection, evidence.people),
            drawn=drawings.draw_images(facts, evidence.survey) if facts and evidence.survey else None,
            pairs=_pairs(evidence),
            people=[
                {"title": title, "of": found, "drawn": drawings.draw_people(found, number, _places(facts))}
                for number, (title, found) in enumerate(evidence.people.items())
            ],
            zone=ZoneInfo(timezone),
            zone_name=timezone,
        )
    )


def publish(store: Store, when: datetime, html: str) -> str:
    """Write the report into the bucket.

    Args:
        store: the bucket.
        when: in the site's time zone. A report of the same second is overwritten.
        html: from `render`.

    Returns:
        The report's key.

    Raises:
        StorageError: the store refuses or cannot be reached.
    """
    place = f"{REPORTS}data/{when:%Y-%m-%d}/{when:%H%M%S}/report.html"
    store.write(place, html.encode(), content_type(place))
    return place


def _made(facts: Facts | None) -> str | None:
    if facts and facts.made == facts.images:
        return MADE_ONLY
    return made_warning(model=False, data=bool(facts and facts.made))


def _places(facts: Facts | None) -> dict[str, int]:
    """The classes' colour indices: a finding with a class's name has its colour."""
    return {one.name: place for place, one in enumerate(facts.classes)} if facts else {}


def _pairs(evidence: DataEvidence) -> list[dict[str, Any]]:
    """The near-duplicates to show, without anything that identifies the images."""
    if evidence.facts is None or evidence.survey is None:
        return []

    shown = []
    for one, other, similarity in evidence.facts.duplicates.shown:
        images = [evidence.survey.images[place] for place in (one, other)]
        found = [(evidence.pictures or {}).get(place) for place in (one, other)]
        shown.append(
            {
                "similarity": similarity,
                "labels": [image.label for image in images],
                "splits": [image.split for image in images],
                "one_patient": images[0].patient == images[1].patient,
                "photographs": [None if picture is None else radiograph_jpeg(picture) for picture in found],
                "made": [evidence.survey.measurements[place].made for place in (one, other)],
            }
        )
    return shown


def _picture(image: LabelledImage, limits: Limits) -> NDArray[np.uint8] | None:
    return read_radiograph(image.location, limits, partial(preprocess, spec=SURVEY_SPEC)).prepared
