"""Programs: which pieces, how large, where attached and how repeated."""

from typing import NamedTuple

import numpy as np

from keras_pointpeft.data.shapes.pieces import KINDS
from keras_pointpeft.data.shapes.pieces import SHARES

PIECES = 8

# How a piece is repeated.
ONCE, MIRROR, FOUR, ROW, CIRCLE = range(5)
_REPEATS = (0.4, 0.2, 0.12, 0.14, 0.14)
# A turn takes x, y, z from these; most things stand or lie.
_TURNS = np.array([(0, 1, 2), (1, 0, 2), (0, 2, 1)])


class Program(NamedTuple):
    """Of clouds times `PIECES` pieces, each array with one entry a piece."""

    kind: np.ndarray  # (pieces,)
    numbers: np.ndarray  # (4, pieces), what bends a piece
    size: np.ndarray  # (3, pieces), half extents
    turn: np.ndarray  # (pieces,), into `_TURNS`
    tilt: np.ndarray  # (pieces,), about z
    parent: np.ndarray  # (pieces,), an earlier piece of the same cloud
    side: np.ndarray  # (pieces,), 0 to 5: on which side of the parent
    offset: np.ndarray  # (3, pieces), along the parent, -1 to 1
    repeat: np.ndarray  # (pieces,)
    times: np.ndarray  # (pieces,)
    step: np.ndarray  # (pieces,)
    axis: np.ndarray  # (pieces,), of a row
    there: np.ndarray  # (pieces,) bool
    # (16, clouds), what happens to the whole, see `wearing`. The last four are
    # for what may come: more of them would change all that is drawn behind.
    whole: np.ndarray


def drawn(clouds, rng):
    """Draws a program for each cloud."""
    n = clouds * PIECES

    def some(*shape):
        return rng.random((*shape, n), dtype="float32")

    count = 1 + (rng.random(clouds) ** 1.3 * PIECES).astype("int64")
    place = np.tile(np.arange(PIECES), clouds)
    first = np.arange(n) - place
    parent = first + (some() ** 0.7 * place).astype("int64")
    large = np.exp(np.log(0.15) * some()) * np.where(place == 0, 1, 0.7)
    size = large * np.exp(-2.2 * some(3) ** 2)
    # Every fourth piece is thin one way.
    thin = (some() * 12).astype("int64")
    for axis in range(3):
        size[axis] *= np.where(thin == axis, np.float32(0.12), np.float32(1))
    return Program(
        kind=(some() * len(KINDS)).astype("int64"),
        numbers=some(4),
        size=size,
        turn=(np.maximum(0, some() * 6 - 3)).astype("int64"),
        tilt=np.where(some() < 0.25, (some() - 0.5) * 1.6, 0).astype("float32"),
        parent=parent,
        side=(some() * 6).astype("int64"),
        offset=(2 * some(3) - 1) * (some(3) < 0.5),
        repeat=np.searchsorted(np.cumsum(_REPEATS)[:-1], some(), "right"),
        times=2 + (some() ** 2 * 7).astype("int64"),
        step=0.2 + some(),
        axis=(some() * 3).astype("int64"),
        there=place < np.repeat(count, PIECES),
        whole=rng.random((16, clouds), dtype="float32"),
    )


def varied(program, rng, spread=0.15):
    """The same programs with other sizes, bends and places."""
    size = program.size
    normal = rng.standard_normal((8, size.shape[1]), dtype="float32")
    whole = program.whole
    shift = spread * rng.standard_normal(whole.shape, dtype="float32")
    return program._replace(
        numbers=np.clip(
            program.numbers + spread / 2 * normal[:4], 0, 1 - 1e-6
        ).astype("float32"),
        size=size * np.exp(spread * normal[4:7]),
        step=program.step * np.exp(spread * normal[7]),
        # Mirrored back where it would leave [0, 1).
        whole=1 - np.abs(1 - np.abs(whole + shift / 2)).astype("float32"),
    )


def chosen(program, count, rng):
    """Which piece each of `count` points of every cloud lies on, flat."""
    x, y, z = program.size
    area = (x * y + y * z + z * x) * SHARES[program.kind]
    area = area * np.where(program.repeat == ONCE, 1, program.times)
    area = np.sqrt(area) * program.there
    area = area.reshape(-1, PIECES)
    share = np.cumsum(area, axis=1)
    share = share / share[:, -1:]
    at = rng.random((len(share), count), dtype="float32")
    piece = (at[:, :, None] >= share[:, None, :-1]).sum(axis=2, dtype="int64")
    return (piece + PIECES * np.arange(len(share))[:, None]).reshape(-1)


def placed(program, piece, points, rng):
    """Points of pieces where the program puts them, (3, points)."""
    turn = _TURNS[program.turn].T
    half = np.take_along_axis(program.size, turn, axis=0)
    centre = _centres(program, half)
    p = (points * program.size[:, piece])[
        turn[:, piece], np.arange(points.shape[1])
    ]
    cos, sin = np.cos(program.tilt)[piece], np.sin(program.tilt)[piece]
    p = np.stack([cos * p[0] - sin * p[1], sin * p[0] + cos * p[1], p[2]])
    p += centre[:, piece]
    about = centre[:, program.parent]
    pieces = np.arange(half.shape[1])
    stride = (1 + 2 * program.step) * half[program.axis, pieces]
    return _repeated(program, piece, p, about, stride, rng)


def _centres(program, half):
    """Where the pieces stand, each at a side of its parent."""
    centre = np.zeros_like(half)
    steps = np.arange(half.shape[1])
    along = program.side % 3
    sign = np.where(program.side < 3, np.float32(1), np.float32(-1))
    for place in range(1, PIECES):
        now = steps[place::PIECES]
        parent = program.parent[now]
        beside = program.offset[:, now] * half[:, parent]
        way = along[now]
        reach = half[way, parent] + 0.9 * half[way, now]
        beside[way, np.arange(len(now))] = sign[now] * reach
        centre[:, now] = centre[:, parent] + beside
    return centre


def _repeated(program, piece, p, about, stride, rng):
    """Every point goes to one of the copies of its piece."""
    repeat, times = program.repeat[piece], program.times[piece]
    copy = (rng.random(len(piece), dtype="float32") * times).astype("int64")
    about = about[:, piece]
    flip = np.where(copy % 2 == 0, np.float32(1), np.float32(-1))
    other = np.where(copy // 2 % 2 == 0, np.float32(1), np.float32(-1))
    mirrored = (repeat == MIRROR) | (repeat == FOUR)
    x, y, z = p - about
    x = np.where(mirrored, x * flip, x)
    z = np.where(repeat == FOUR, z * other, z)
    angle = np.where(repeat == CIRCLE, copy * (2 * np.pi) / times, 0)
    cos, sin = np.cos(angle).astype("float32"), np.sin(angle).astype("float32")
    moved = np.stack([cos * x + sin * z, y, cos * z - sin * x])
    moved += about
    row = np.where(repeat == ROW, (copy - (times - 1) / 2), 0)
    row = (row * stride[piece]).astype("float32")
    moved[program.axis[piece], np.arange(len(piece))] += row
    return moved
