"""Procedural shapes: labelled clouds of 20 categories from a seed."""

from keras_pointpeft.data.shapes.categories import CATEGORIES
from keras_pointpeft.data.shapes.categories import PART_NAMES
from keras_pointpeft.data.shapes.categories import PARTS
from keras_pointpeft.data.shapes.generate import DOMAINS
from keras_pointpeft.data.shapes.generate import VERSION
from keras_pointpeft.data.shapes.generate import ShapeSet
from keras_pointpeft.data.shapes.generate import make_shapes
from keras_pointpeft.data.shapes.rooms import ROOM_CLASSES
from keras_pointpeft.data.shapes.rooms import RoomSet
from keras_pointpeft.data.shapes.rooms import make_rooms

__all__ = [
    "CATEGORIES",
    "DOMAINS",
    "PARTS",
    "PART_NAMES",
    "ROOM_CLASSES",
    "VERSION",
    "RoomSet",
    "ShapeSet",
    "make_rooms",
    "make_shapes",
]
