"""Procedural shapes: 20 categories, and random programs, from a seed."""

from keras_pointpeft.data.shapes.categories import CATEGORIES
from keras_pointpeft.data.shapes.categories import PART_NAMES
from keras_pointpeft.data.shapes.categories import PARTS
from keras_pointpeft.data.shapes.generate import DOMAINS
from keras_pointpeft.data.shapes.generate import VERSION
from keras_pointpeft.data.shapes.generate import ShapeSet
from keras_pointpeft.data.shapes.generate import make_shapes
from keras_pointpeft.data.shapes.programs import ProgramSet
from keras_pointpeft.data.shapes.programs import make_programs
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
    "ProgramSet",
    "RoomSet",
    "ShapeSet",
    "make_programs",
    "make_rooms",
    "make_shapes",
]
