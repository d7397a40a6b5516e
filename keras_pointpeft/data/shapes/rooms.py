"""`make_rooms`: furnished rooms with a semantic label per point."""

from typing import NamedTuple

import numpy as np

from keras_pointpeft.data.shapes import primitives as p
from keras_pointpeft.data.shapes.categories import Solid
from keras_pointpeft.data.shapes.categories import build
from keras_pointpeft.data.shapes.checks import checked_integer
from keras_pointpeft.data.shapes.dice import Dice
from keras_pointpeft.data.shapes.dice import stream
from keras_pointpeft.data.shapes.surface import sample
from keras_pointpeft.files.progress import telling

_STRUCTURE = ("ceiling", "floor", "wall")
_AT_WALLS = ("bed", "bookshelf", "cabinet", "desk", "sofa")
_FREE = ("armchair", "bench", "chair", "lamp", "stool", "table")
_SMALL = ("bottle", "bucket", "mug", "vase")

ROOM_CLASSES = _STRUCTURE + tuple(
    sorted((*_AT_WALLS, *_FREE, "monitor", "clutter"))
)

# Not among the streams of `make_shapes`.
_ROOM = 3


class RoomSet(NamedTuple):
    """Clouds of furnished rooms.

    Attributes:
        points: (rooms, points, 3) float32, in metres; y is up, the floor at
            y = 0, one corner of the room at the origin.
        labels: (rooms, points) int32 into `class_names`.
        class_names: tuple.
    """

    points: np.ndarray
    labels: np.ndarray
    class_names: tuple


@telling("making rooms")
def make_rooms(
    num_rooms: int,
    points_per_room: int = 16384,
    seed: int = 0,
    start: int = 0,
) -> RoomSet:
    """Makes furnished rooms for semantic segmentation; nothing is loaded.

    A room of 3 to 7 metres has a floor, a ceiling and four walls; sofas,
    beds, desks and shelves stand at the walls, tables, chairs and other
    furniture between them, monitors and small things on tables and desks.
    Surfaces turned away from all of three places to look from are empty, and
    positions are off by some millimetres. Room `i` of a seed depends on the
    seed, `i` and the number of points only.

    Args:
        num_rooms: int. Rooms to make.
        points_per_room: int. Defaults to `16384`.
        seed: int, not negative. Defaults to `0`.
        start: int. Index of the first room. Defaults to `0`.

    Returns:
        `RoomSet`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: a number is not an integer.

    Example:

    ```python
    from keras_pointpeft.data.shapes import make_rooms

    rooms = make_rooms(4, points_per_room=4096)
    rooms.points.shape  # (4, 4096, 3)
    ```
    """
    num_rooms = checked_integer("num_rooms", num_rooms, 0)
    count = checked_integer("points_per_room", points_per_room, 64)
    seed = checked_integer("seed", seed, 0)
    start = checked_integer("start", start, 0)
    points = np.empty((num_rooms, count, 3), dtype="float32")
    labels = np.empty((num_rooms, count), dtype="int32")
    for row in range(num_rooms):
        rng = stream(seed, start + row, _ROOM)
        points[row], labels[row] = _room(count, rng)
    return RoomSet(points, labels, ROOM_CLASSES)


def _room(count, rng):
    d = Dice(rng)
    size = np.array(
        (d.between(3.0, 7.0), d.between(2.3, 3.2), d.between(3.0, 7.0))
    )
    furniture = _furniture(d, size)
    eyes = size * (0.2 + 0.6 * rng.random((3, 3)))
    eyes[:, 1] = 1.2 + 0.8 * rng.random(3)
    share = int(count * d.between(0.4, 0.6))
    inside = sample(furniture, share, rng, eyes)
    around = sample(_shell(size), count - share, rng)
    points = np.concatenate([inside.points, around.points])
    labels = np.concatenate([inside.parts, around.parts])
    sigma = d.between(0.001, 0.01)
    points = points + sigma * rng.standard_normal(points.shape)
    order = rng.permutation(count)
    return points[order], labels[order]


def _shell(size):
    """The inner faces of a box: floor, ceiling and walls."""
    box = p.box(size, size * (0.5, 0.0, 0.5))
    mesh = p.Mesh(box.vertices, box.faces[:, ::-1])
    normals = p.face_vectors(mesh)
    names = np.where(
        np.abs(normals[:, 1]) < 1e-9,
        ROOM_CLASSES.index("wall"),
        np.where(
            normals[:, 1] > 0,
            ROOM_CLASSES.index("floor"),
            ROOM_CLASSES.index("ceiling"),
        ),
    )
    return Solid(mesh, names.astype("int32"))


def _furniture(d, size):
    """Pieces that do not stand in one another's place, as one `Solid`."""
    taken, meshes, names = [], [], []

    def stand(name, mesh):
        low, high = p.bounds(mesh.vertices)
        low, high = low[[0, 2]], high[[0, 2]]
        fits = (low > 0).all() and (high < size[[0, 2]]).all()
        clear = all((low > b).any() or (high < a).any() for a, b in taken)
        if fits and clear:
            taken.append((low, high))
            meshes.append(mesh)
            names.append(name)
        return fits and clear

    area = size[0] * size[2]
    for _ in range(d.count(3, 3 + int(area / 5))):
        name = d.pick(*_AT_WALLS)
        mesh = _piece(d, name)
        for _ in range(4):
            if stand(name, _at_wall(d, mesh, size)):
                _load(d, name, meshes, names)
                break
    for _ in range(d.count(2, 3 + int(area / 6))):
        name = d.pick(*_FREE, "table", "chair")
        mesh = _piece(d, name)
        for _ in range(4):
            turned = p.turned(mesh, "y", d.between(0.0, 2 * np.pi))
            at = (d.between(0, size[0]), 0.0, d.between(0, size[2]))
            if stand(name, p.moved(turned, at)):
                _load(d, name, meshes, names)
                break
    for _ in range(d.count(0, 3)):
        at = (d.between(0, size[0]), 0.0, d.between(0, size[2]))
        stand("clutter", p.moved(_piece(d, d.pick("bucket", "vase")), at))
    if not meshes:
        chair = p.moved(_piece(d, "chair"), size * (0.5, 0.0, 0.5))
        stand("chair", chair)
    ids = [ROOM_CLASSES.index(name) for name in names]
    counts = [len(mesh.faces) for mesh in meshes]
    return Solid(p.merge(*meshes), np.repeat(ids, counts).astype("int32"))


def _piece(d, category):
    """A shape with the middle of its footprint at the origin."""
    mesh = build(category, d.rng).mesh
    low, high = p.bounds(mesh.vertices)
    return p.moved(mesh, -(low + high) / 2 * (1, 0, 1))


def _at_wall(d, mesh, size):
    """The back (-z) towards one of the walls."""
    quarter = d.count(0, 3)
    mesh = p.turned(mesh, "y", quarter * np.pi / 2)
    low, high = p.bounds(mesh.vertices)
    at = -low + d.rng.random(3) * np.maximum(size - (high - low), 0)
    gap = d.between(0.01, 0.08)
    axis = 2 if quarter % 2 == 0 else 0
    at[axis] = gap - low[axis]
    if quarter >= 2:
        at[axis] = size[axis] - gap - high[axis]
    at[1] = 0.0
    return p.moved(mesh, at)


def _load(d, name, meshes, names):
    """Puts a monitor and small things on the table or desk placed last."""
    if name not in ("desk", "table"):
        return
    low, high = p.bounds(meshes[-1].vertices)
    if high[1] > 0.95:
        return
    middle, half = (low + high) / 2, (high - low) / 2
    things = ["monitor"] * (name == "desk" and d.chance(0.7))
    things += [d.pick(*_SMALL, "mug") for _ in range(d.pick(0, 1, 2))]
    for thing in things:
        mesh = p.turned(_piece(d, thing), "y", d.between(0.0, 2 * np.pi))
        reach = 0.5 if thing != "monitor" else 0.1
        at = middle + half * reach * (2 * d.rng.random(3) - 1)
        at[1] = high[1]
        meshes.append(p.moved(mesh, at))
        names.append("monitor" if thing == "monitor" else "clutter")
