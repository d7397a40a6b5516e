"""Columns of scenes: what a model of scenes sees at once."""

import numpy as np

from keras_pointpeft.data.rooms import AT_ONCE
from keras_pointpeft.data.rooms import Room

# A column with fewer than this part of `num_points` is widened.
_SPARSE = 16
_WIDEST = 8


def draw_column(room: Room, num_points, rng, size=1.0, min_points=1024):
    """Draws points from a vertical column around a random point.

    As published: the column is `size` wide in x and y, around a point of the
    room such that it holds more than `min_points` points. x and y become
    relative to its centre, z stays the height above the scene's ground; all
    are given in units of `size`, so that wider columns look alike.

    Args:
        room: `Room`.
        num_points: int; drawn without replacement where there are enough.
        rng: `numpy.random.Generator`.
        size: float, in metres. Defaults to 1.
        min_points: int. Defaults to 1024.

    Returns:
        `(points, labels)`, `(num_points, 3)` and `(num_points,)`; the points
        are wider by the room's channels.

    Raises:
        ValueError: 100 columns had too few points.
    """
    local = room.local
    for _ in range(100):
        center = local[rng.integers(len(local)), :2]
        near = np.abs(local[:, :2] - center) <= size / 2
        inside = np.flatnonzero(near.all(axis=1))
        if len(inside) > min_points:
            break
    else:
        raise ValueError(
            f"100 columns of {room.name} had too few points; give a smaller "
            "`column_min_points` or a larger `column_size`, in the unit of "
            f"the coordinates. Received: column_min_points={min_points}, "
            f"column_size={size}"
        )
    few = len(inside) < num_points
    chosen = rng.choice(inside, num_points, replace=few)
    points = local[chosen].copy()
    points[:, :2] -= center
    points = (points / size).astype("float32")
    return room.beside(points, chosen), room.labels[chosen]


def cover_room(room: Room, num_points, rng, size=1.0, stride=0.5):
    """Divides a room into columns so that every point is in at least one.

    Args:
        room, num_points, rng, size, stride: see `columns`.

    Returns:
        `(points, indices)`: all blocks of `columns`, `(blocks, num_points,
        3)`, and the place of each point in the room, `(blocks, num_points)`.
    """
    parts = list(columns(room, num_points, rng, size, stride))
    points, indices, _ = (np.concatenate(part) for part in zip(*parts))
    return points, indices


def columns(room: Room, num_points, rng, size=1.0, stride=0.5):
    """Yields columns that together hold every point of a room.

    Columns of `size` in steps of `stride` over the room, the last ones moved
    in so that they end with it; each is divided at random into blocks of
    `num_points`, the last one filled by repeating. A column with very few
    points is merged with what is around: it is widened until it has enough,
    and only the points of the column itself are its own.

    Args:
        room: `Room`.
        num_points: int.
        rng: `numpy.random.Generator`.
        size, stride: floats, in metres. Default to 1 and 0.5.

    Yields:
        `(points, indices, own)` of one column: blocks `(blocks, num_points,
        3)` as in `draw_column`, the place of each point in the room
        and whether it is the column's own and does not only fill the block,
        both `(blocks, num_points)`. Each own point is there once.

    Raises:
        ValueError: a stride that misses points, or columns that hold hardly
            any, as where the coordinates are millimetres.
    """
    most_columns(size, stride)
    _check_filled(room, size)
    grid = _Rows(room)
    high = room.extent
    for left in _starts(high[0], size, stride):
        row = grid.row(left, size)
        for bottom in _starts(high[1], size, stride):
            inside = row.between(bottom, size)
            if not len(inside):
                continue
            corner, width = np.array([left, bottom]), size
            around = inside
            while len(around) * _SPARSE < num_points and width < _WIDEST * size:
                width *= 2
                begin = corner - (width - size) / 2
                around = grid.row(begin[0], width).between(begin[1], width)
            own = len(inside)
            if width > size:
                around = np.setdiff1d(around, inside, assume_unique=True)
                inside = np.concatenate([inside, around])
            order = rng.permutation(len(inside))
            fill = -len(order) % num_points
            extra = rng.choice(order, fill, replace=fill > len(order))
            # Points that only fill the block are predicted where they belong.
            owned = np.append(order < own, np.zeros(fill, bool))
            order = np.concatenate([order, extra]).reshape(-1, num_points)
            points = room.near(inside[order])
            points[..., :2] -= corner + size / 2
            points = room.beside(
                (points / size).astype("float32"), inside[order]
            )
            yield points, inside[order], owned.reshape(order.shape)


def most_columns(size, stride):
    """How many columns a point can be in.

    Raises:
        ValueError: a stride that misses points.
    """
    if not 0 < stride <= size:
        raise ValueError(
            "`stride` must lie between 0 and `size`, or points are missed. "
            f"Received: stride={stride}, size={size}"
        )
    return (int(np.ceil(size / stride)) + 1) ** 2


class _Rows:
    """Finds points by x, and within that by y, without a look at all."""

    def __init__(self, room):
        self._room = room
        x = np.concatenate([part[:, 0].copy() for part in _parts(room)])
        kind = "int32" if len(x) < 2**31 else "int64"
        self._order = np.argsort(x, kind="stable").astype(kind)
        self._x = x[self._order]

    def row(self, left, width):
        # A column reaches to both of its edges, so that none is missed.
        begin = np.searchsorted(self._x, left - 1e-3, "left")
        end = np.searchsorted(self._x, left + width + 1e-3, "right")
        return _Row(self._room, self._order[begin:end])


class _Row:
    def __init__(self, room, members):
        y = room.near(members)[:, 1]
        order = np.argsort(y, kind="stable")
        self._members, self._y = members[order], y[order]

    def between(self, bottom, width):
        begin = np.searchsorted(self._y, bottom - 1e-3, "left")
        end = np.searchsorted(self._y, bottom + width + 1e-3, "right")
        return self._members[begin:end]


def _starts(extent, size, stride):
    """Where columns begin along one axis."""
    last = max(float(extent) - size, 0.0)
    steps = int(np.ceil(last / stride)) + 1
    return np.minimum(np.arange(steps) * stride, last)


def _parts(room):
    """A scene's coordinates, some points after the other."""
    for begin in range(0, len(room.points), AT_ONCE):
        yield room.near(slice(begin, begin + AT_ONCE))


def _check_filled(room, size):
    """Refuses a scene in which a column holds about one point."""
    count = len(room.points)
    if count < 100:
        return
    seen = np.empty(0, "int64")
    for part in _parts(room):
        x, y = np.floor(part[:, :2] / size).astype("int64").T
        seen = np.union1d(seen, x * (1 << 31) + y)
    filled = len(seen)
    if count < 2 * filled:
        raise ValueError(
            f"Columns of {room.name} hold {count / filled:.1f} points "
            "each. Coordinates and the column's size must be in one unit, "
            "metres, and each must hold many points. "
            f"Received: column_size={size}"
        )
