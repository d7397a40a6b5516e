"""The table of categories: who builds each, and of which parts."""

from typing import NamedTuple

import numpy as np

from keras_pointpeft.data.shapes import devices
from keras_pointpeft.data.shapes import furniture
from keras_pointpeft.data.shapes import seating
from keras_pointpeft.data.shapes import vehicles
from keras_pointpeft.data.shapes import vessels
from keras_pointpeft.data.shapes.dice import Dice
from keras_pointpeft.data.shapes.primitives import Mesh
from keras_pointpeft.data.shapes.primitives import merge

_BUILDERS = {
    "airplane": vehicles.airplane,
    "armchair": seating.armchair,
    "bed": furniture.bed,
    "bench": seating.bench,
    "bookshelf": furniture.bookshelf,
    "bottle": vessels.bottle,
    "bucket": vessels.bucket,
    "bus": vehicles.bus,
    "cabinet": furniture.cabinet,
    "car": vehicles.car,
    "chair": seating.chair,
    "desk": furniture.desk,
    "lamp": devices.lamp,
    "monitor": devices.monitor,
    "mug": vessels.mug,
    "sofa": seating.sofa,
    "stool": seating.stool,
    "table": furniture.table,
    "truck": vehicles.truck,
    "vase": vessels.vase,
}

PARTS = {
    "airplane": ("fuselage", "wing", "tail", "engine"),
    "armchair": ("seat", "back", "arm", "leg"),
    "bed": ("mattress", "frame", "headboard", "footboard", "pillow", "leg"),
    "bench": ("seat", "back", "arm", "leg"),
    "bookshelf": ("frame", "shelf", "content"),
    "bottle": ("body", "neck", "cap"),
    "bucket": ("body", "rim", "handle"),
    "bus": ("body", "window", "wheel", "mirror"),
    "cabinet": ("body", "door", "handle", "leg"),
    "car": ("body", "cabin", "wheel", "mirror"),
    "chair": ("seat", "back", "arm", "leg"),
    "desk": ("top", "leg", "drawer", "handle", "panel", "shelf"),
    "lamp": ("base", "pole", "shade"),
    "monitor": ("screen", "frame", "stand"),
    "mug": ("body", "handle", "lid"),
    "sofa": ("seat", "back", "arm", "leg"),
    "stool": ("seat", "back", "leg"),
    "table": ("top", "leg", "shelf"),
    "truck": ("cab", "cargo", "frame", "wheel"),
    "vase": ("body", "handle", "flower"),
}

CATEGORIES = tuple(_BUILDERS)

PART_NAMES = ("background",) + tuple(
    f"{category}.{part}" for category in CATEGORIES for part in PARTS[category]
)

_PART_IDS = {name: number for number, name in enumerate(PART_NAMES)}


class Solid(NamedTuple):
    """A shape's mesh and the part of each of its faces, (num_faces,)."""

    mesh: Mesh
    parts: np.ndarray


def build(category, rng):
    """One random shape of a category, upright on y = 0, in metres.

    Args:
        category: one of `CATEGORIES`.
        rng: `numpy.random.Generator`.

    Returns:
        `Solid`; its parts count as in `PART_NAMES`.
    """
    pieces = _BUILDERS[category](Dice(rng))
    mesh = merge(*[piece for _, piece in pieces])
    ids = [_PART_IDS[f"{category}.{part}"] for part, _ in pieces]
    counts = [len(piece.faces) for _, piece in pieces]
    mesh.vertices[:, 1] -= mesh.vertices[:, 1].min()
    return Solid(mesh, np.repeat(ids, counts).astype("int32"))
