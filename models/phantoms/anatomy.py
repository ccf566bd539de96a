"""The anatomy of one phantom, a drawn picture that resembles a radiograph.

A phantom is a sum of attenuations, as a real film is: soft tissue and bone add attenuation, air in the lungs removes
it, and disease replaces air. Everything is drawn on one small plane of fixed size, which is then warped to the
requested size; a 1024 x 1024 phantom takes a few hundredths of a second.

Lengths are in *units*: the shorter side of the picture is about one unit, x is 0 at the spine and grows towards the
right of the picture (the patient's left), y is 0 at the top. Only the disease depends on the label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.phantoms import drawing
from models.phantoms.exposure import expose
from models.vocabulary import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.phantoms.drawing import Plane, Points


@dataclass(frozen=True)
class _Anatomy:
    """What differs from patient to patient; lengths in units."""

    width: float  # from the spine to the outer edge of a lung
    apex: float  # y of the lungs' upper end
    base: tuple[float, float]  # y of the diaphragm's domes, left and right in the picture
    heart: float  # scale of the heart's half-width
    ribs: float  # distance between two ribs
    bone: float  # how strongly bones show
    girth: float  # soft tissue beyond the ribs
    arms: float  # distance of the arms from the body
    breasts: float  # attenuation, 0 for none
    bubble: bool  # gas under the left dome

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Anatomy:
        base = rng.uniform(0.64, 0.74)
        return cls(
            width=rng.uniform(0.31, 0.385),
            apex=rng.uniform(0.10, 0.17),
            base=(base - rng.uniform(0, 0.03), base + rng.uniform(0, 0.03)),
            heart=rng.uniform(0.85, 1.25),
            ribs=rng.uniform(0.064, 0.078),
            bone=rng.uniform(0.7, 1.3),
            girth=rng.uniform(0.035, 0.10),
            arms=rng.uniform(0.0, 0.09),
            breasts=rng.uniform(0.03, 0.09) * (_chance(rng, 0.4)),
            bubble=_chance(rng, 0.35),
        )


def draw_phantom(label: str, patient: int, view: int, seed: int, size: tuple[int, int]) -> Plane:
    """Draw one phantom.

    The same arguments give the same pixels. A patient's anatomy and disease stay the same from view to view;
    position, exposure, noise and the disease's extent change. Two labels of the same patient, view and seed
    differ only inside the lungs.

    Args:
        label: One of `CLASSES`.
        patient: The patient's number, 0 or more.
        view: The number of the patient's image, 0 or more.
        seed: Seed of the whole set, 0 or more.
        size: Height and width in pixels.

    Returns:
        Brightness, float32 of shape (height, width), 0 to 1.

    Raises:
        ValueError: The label is not one of `CLASSES`.
    """
    if label not in CLASSES:
        raise ValueError(f"no phantom for the label {label!r}: choose one of {', '.join(CLASSES)}")
    body_rng, disease_rng = (np.random.default_rng((seed, patient, stream)) for stream in (0, 1))
    anatomy = _Anatomy.random(body_rng)
    view_rng = np.random.default_rng((seed, patient, 2, view))
    opacity = _opacity(label, anatomy, disease_rng, view_rng.uniform(0.85, 1.1))
    return expose(_attenuation(anatomy, body_rng, opacity, view_rng), view_rng, size)


def _attenuation(anatomy: _Anatomy, rng: np.random.Generator, opacity: Plane, view_rng: np.random.Generator) -> Plane:
    """Add up the body's parts; `opacity` is the share of the lungs' air that disease has replaced."""
    lungs = np.maximum(*(_lung(anatomy, side) for side in drawing.BOTH_SIDES))
    heart = drawing.fill(_HEART * (anatomy.heart, 1.0) + (0, anatomy.base[1] - 0.70), 0.007)
    air = lungs * (0.72 + 0.28 * drawing.blur(lungs, 0.05)) * (1 - 0.92 * heart)
    vessels = _vessels(rng) * air
    grain = drawing.noise(rng, 110) * 0.6 + drawing.noise(rng, 50)
    air = air * (1 + 0.05 * grain) * (1 - opacity)

    torso = _torso(anatomy)
    depth = np.sqrt(np.clip(1 - (drawing.X / (anatomy.width + anatomy.girth + 0.12)) ** 2, 0.05, 1))
    abdomen = np.clip((drawing.Y - anatomy.base[0] + 0.12) / 0.3, 0, 1) * depth
    total: Plane = torso * (0.30 + 0.30 * depth + 0.16 * abdomen + 0.012 * drawing.noise(rng, 12))
    total += _arms(anatomy) + heart * 0.10 * torso + vessels * 0.16
    total += anatomy.bone * (_ribs(anatomy, lungs) + _spine() + _shoulder_girdle(anatomy, rng))
    total += anatomy.breasts * _breasts(anatomy)
    total -= 0.46 * air + 0.09 * _trachea(rng)
    if anatomy.bubble:
        total -= 0.13 * drawing.ellipse((0.17, anatomy.base[1] + 0.055), (0.05, 0.025), 0.006)
    if _chance(view_rng, 0.2):
        total += 0.12 * _electrodes(view_rng)
    return total


def _opacity(label: str, anatomy: _Anatomy, rng: np.random.Generator, extent: float) -> Plane:
    """Share of the lungs' air that the class's disease has replaced, 0 to 1."""
    air = np.ones((drawing.PLANE_SIDE, drawing.PLANE_SIDE), np.float32)
    if label == "PNEUMONIA":
        side = rng.choice(drawing.BOTH_SIDES)
        y = rng.uniform(anatomy.apex + 0.15, anatomy.base[0] - 0.06)
        focus = _patch(rng, (side * rng.uniform(0.16, 0.23), y), rng.uniform(0.085, 0.14, 2) * extent, 0.30)
        if _chance(rng, 0.4):  # lobar pneumonia ends sharply at a fissure
            fissure = y + rng.choice((-1, 1)) * 0.04
            focus *= 1 / (1 + np.exp(-(drawing.Y - fissure) * np.float32(np.sign(y - fissure) / 0.006)))
        air *= 1 - rng.uniform(0.6, 0.92) * focus
        if _chance(rng, 0.12):
            other = (-side * rng.uniform(0.15, 0.22), rng.uniform(0.35, 0.6))
            air *= 1 - 0.5 * _patch(rng, other, rng.uniform(0.04, 0.06, 2), 0.3)
    elif label == "COVID-19":
        glass = np.clip(0.9 + 0.12 * drawing.noise(rng, 70), 0.6, 1.2)
        for side in drawing.BOTH_SIDES:
            for _ in range(rng.integers(3, 6)):
                y = anatomy.base[0] + 0.03 - (anatomy.base[0] - anatomy.apex - 0.12) * rng.beta(1.1, 2.2)
                x = np.interp(y, *_outer_edge(anatomy)) - rng.uniform(0.01, 0.08)
                patch = _patch(rng, (side * x, y), rng.uniform((0.035, 0.045), (0.065, 0.085)) * extent, 0.45)
                air *= 1 - np.clip(rng.uniform(0.35, 0.62) * patch * glass, 0, 0.8)
    return 1 - air


def _patch(rng: np.random.Generator, centre: tuple[float, float], radii: NDArray[np.float64], ragged: float) -> Plane:
    """An ellipse with a soft, ragged rim: 1 inside, 0 far outside."""
    angle, half = rng.uniform(0, np.pi), int(2 * max(radii) * drawing.PIXELS_PER_UNIT)
    column, row = ((np.array(centre) + drawing.ORIGIN) * drawing.PIXELS_PER_UNIT).astype(int)
    window = np.s_[max(row - half, 0) : row + half, max(column - half, 0) : column + half]
    x, y = drawing.X[window] - np.float32(centre[0]), drawing.Y[window] - np.float32(centre[1])
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    distance = np.sqrt((along / radii[0]) ** 2 + (across / radii[1]) ** 2)
    distance += ragged * 0.5 * drawing.noise(rng, 8, x.shape)
    rise = np.clip((1.35 - distance) / 0.7, 0, 1)
    plane = np.zeros((drawing.PLANE_SIDE, drawing.PLANE_SIDE), np.float32)
    plane[window] = rise * rise * (3 - 2 * rise)
    return plane


# The heart with the great vessels, clockwise from the top left of the picture.
_HEART = np.array(
    [
        *((-0.045, 0.10), (0.045, 0.10), (0.05, 0.22), (0.085, 0.265), (0.08, 0.33), (0.07, 0.38), (0.10, 0.44)),
        *((0.15, 0.53), (0.195, 0.63), (0.20, 0.70), (0.10, 0.76), (-0.06, 0.76), (-0.09, 0.66), (-0.09, 0.55)),
        *((-0.06, 0.44), (-0.062, 0.32), (-0.055, 0.20)),
    ]
)


def _outer_edge(anatomy: _Anatomy) -> tuple[Sequence[float], Sequence[float]]:
    """The lungs' outer edge as y and |x|, from the apex down to the costophrenic angle."""
    top, width, low = anatomy.apex, anatomy.width, max(anatomy.base) + 0.09
    return (
        (top, top + 0.03, top + 0.10, top + 0.2, top + 0.33, low - 0.1, low),
        (0.15, 0.58 * width, 0.76 * width, 0.88 * width, 0.96 * width, width, width),
    )


def _lung(anatomy: _Anatomy, side: int) -> Plane:
    base = anatomy.base[side > 0]
    ys, xs = _outer_edge(anatomy)
    outer = list(zip(xs, ys, strict=True))[1:-1]
    w, low = anatomy.width, base + 0.085
    floor = [
        (w, low),
        (w - 0.01, low),
        (0.82 * w, base + 0.025),
        (0.6 * w, base - 0.01),
        (0.35 * w, base),
        (0.05, base),
    ]
    inner = [(0.045, base - 0.1), (0.05, 0.35), (0.06, anatomy.apex + 0.1), (0.09, anatomy.apex + 0.02)]
    crown = [(0.14, anatomy.apex)]
    return drawing.fill(np.array([*crown, *outer, *floor, *inner]) * (side, 1), 0.005)


def _torso(anatomy: _Anatomy) -> Plane:
    flank = anatomy.width + anatomy.girth
    half = [(0.09, -0.3), (0.095, 0.0), (0.13, 0.05), (0.30, 0.075), (0.43, 0.11), (0.50, 0.18), (0.50, 0.26)]
    half += [(flank + 0.02, 0.36), (flank, 0.46), (flank, 0.75), (flank + 0.02, 1.4)]
    return drawing.fill(np.array(half + [(-x, y) for x, y in reversed(half)]), 0.008)


def _arms(anatomy: _Anatomy) -> Plane:
    bend = np.array([(0.435, 0.19), (0.475 + anatomy.arms / 2, 0.5), (0.50 + anatomy.arms, 1.3)])
    return 0.16 * drawing.stroke(drawing.mirrored(bend), 0.13, 0.01) + 0.10 * anatomy.bone * drawing.stroke(
        drawing.mirrored(bend), 0.04, 0.004
    )


def _ribs(anatomy: _Anatomy, lungs: Plane) -> Plane:
    """Ten pairs: the back half runs outwards to the flank, the fainter front half runs down and inwards from there."""
    ys, xs = _outer_edge(anatomy)
    back_halves: list[Points] = []
    front_halves: list[Points] = []
    for number in range(10):
        y = anatomy.apex + 0.015 + number * anatomy.ribs
        flank_y = y + 0.035 + 0.006 * number
        flank_x = float(np.interp(flank_y, ys, xs)) + 0.006
        back = [(0.03, y + 0.012), (0.3 * flank_x, y - 0.014), (0.75 * flank_x, y - 0.004), (flank_x, flank_y)]
        front = [(flank_x, flank_y), (flank_x, flank_y + 0.05)]
        front += [(0.75 * flank_x, flank_y + 0.10), (0.36 * flank_x, flank_y + 0.15)]
        back_halves += drawing.mirrored(np.array(back))
        front_halves += drawing.mirrored(np.array(front))
    bones = 0.085 * drawing.tube(back_halves, 0.025, 0.0025) + 0.05 * drawing.tube(front_halves, 0.024, 0.0025)
    total: Plane = bones * (0.35 + 0.65 * drawing.blur(lungs, 0.02))
    return total


def _spine() -> Plane:
    column = drawing.fill(np.array([(-0.038, -0.3), (0.038, -0.3), (0.048, 1.4), (-0.048, 1.4)]), 0.006)
    discs: Plane = 0.75 + 0.25 * np.cos(drawing.Y * np.float32(2 * np.pi / 0.062))
    return 0.09 * column * discs


def _shoulder_girdle(anatomy: _Anatomy, rng: np.random.Generator) -> Plane:
    """Collar bones, shoulder blades and the heads of the upper arm bones."""
    tilt = rng.uniform(-0.015, 0.03)
    collar_bone = np.array([(0.028, 0.205), (0.12, 0.185), (0.22, 0.145 - tilt), (0.37, 0.125 - tilt)])
    total = 0.11 * drawing.tube(drawing.mirrored(collar_bone), 0.03, 0.003)
    width = anatomy.width
    shoulder_blade = [(0.36, 0.17), (0.43, 0.2), (width + 0.05, 0.44), (width - 0.005, 0.42), (0.30, 0.2)]
    for side in drawing.BOTH_SIDES:
        total += 0.055 * drawing.fill(np.array(shoulder_blade) * (side, 1), 0.005)
        total += 0.08 * drawing.ellipse((side * 0.445, 0.175), (0.04, 0.045), 0.005)
    return total


def _trachea(rng: np.random.Generator) -> Plane:
    x = rng.normal(0.006, 0.006)
    return drawing.stroke([np.array([(0, -0.3), (0, 0.12), (x, 0.25), (x, 0.34)])], 0.034, 0.006)


def _breasts(anatomy: _Anatomy) -> Plane:
    low = anatomy.base[0]
    return np.maximum(*(drawing.ellipse((side * 0.23, low - 0.03), (0.15, 0.13), 0.02) for side in drawing.BOTH_SIDES))


def _vessels(rng: np.random.Generator) -> Plane:
    """Vessels that fan out from both lung roots and become thinner and branch."""
    plane = np.zeros((drawing.PLANE_SIDE, drawing.PLANE_SIDE), np.uint8)
    fan = np.tile(np.linspace(-1.35, 1.3, 13), 2)
    mirror = np.stack([np.repeat(drawing.BOTH_SIDES, 13), np.ones(26)], 1)
    heading, lengths = fan + rng.normal(0, 0.08, 26), rng.integers(6, 11, 26)
    start = np.stack([np.full(26, 0.075), 0.42 + 0.03 * fan], 1)
    for step in range(max(lengths)):
        heading = heading + rng.normal(0, 0.19, 26)
        fade, alive = 1 - step / max(lengths), step < lengths
        end = start + 0.028 * np.stack([np.cos(heading), np.sin(heading)], 1)
        drawing.draw_lines(
            plane, np.stack([start, end], 1)[alive] * mirror[alive, None], 0.003 + 0.013 * fade**1.5, 60 + 150 * fade
        )
        forks, turn = alive & (rng.choice((True, False), 26, p=(0.4, 0.6))), heading + rng.choice((-0.8, 0.8), 26)
        twig = end + rng.uniform(0.03, 0.06) * np.stack([np.cos(turn), np.sin(turn)], 1)
        drawing.draw_lines(
            plane, np.stack([end, twig], 1)[forks] * mirror[forks, None], 0.003 + 0.005 * fade, 40 + 90 * fade
        )
        start = end
    return drawing.blur(drawing.to_unit_range(plane), 0.0035)


def _electrodes(rng: np.random.Generator) -> Plane:
    """ECG electrodes and their cables."""
    total = np.zeros((drawing.PLANE_SIDE, drawing.PLANE_SIDE), np.float32)
    for _ in range(rng.integers(1, 4)):
        pad = rng.uniform((-0.3, 0.2), (0.3, 0.7))
        bends = [pad + rng.normal(0, 0.1, 2), pad + rng.normal(0, 0.25, 2)]
        cable = drawing.stroke([np.array([pad, *bends, (rng.uniform(-0.6, 0.6), 1.3)])], 0.005, 0.001)
        total = np.maximum(total, np.maximum(cable, drawing.ellipse((pad[0], pad[1]), (0.013, 0.013))))
    return total


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)
