"""Procedural shapes: labelled clouds of 20 categories from a seed."""

from keras_pointpeft.data.shapes.categories import CATEGORIES
from keras_pointpeft.data.shapes.categories import PART_NAMES
from keras_pointpeft.data.shapes.categories import PARTS
from keras_pointpeft.data.shapes.generate import DOMAINS
from keras_pointpeft.data.shapes.generate import VERSION
from keras_pointpeft.data.shapes.generate import ShapeSet
from keras_pointpeft.data.shapes.generate import make_shapes

__all__ = [
    "CATEGORIES",
    "DOMAINS",
    "PARTS",
    "PART_NAMES",
    "VERSION",
    "ShapeSet",
    "make_shapes",
]
