"""What happens to whole clouds: bending, displacement, cuts, one-sided views.

All of it on many clouds at once, `(3, clouds, points)`. Of the numbers of
`Program.whole`, eight say how a cloud is warped and four how it is cut.
"""

import numpy as np

# Of a cut's cloud at most so much is taken away.
MOST_CUT = 0.35
# Width of a pixel and slack in depth of a view, in units of the radius.
PIXEL, SLACK = 0.06, 0.1


def warped(points, program, rng):
    """Twisted, tapered and displaced clouds."""
    whole = program.whole[:, :, None]
    x, y, z = points / np.abs(points).max(axis=(0, 2))[:, None]
    taper = np.where(whole[0] < 0.2, (whole[1] - 0.5) * 1.2, 0)
    scale = 1 + taper * y
    twist = np.where(whole[2] < 0.15, (whole[3] - 0.5) * 3, 0) * y
    cos, sin = np.cos(twist) * scale, np.sin(twist) * scale
    x, z = cos * x + sin * z, cos * z - sin * x
    p = np.stack([x, y, z]).astype("float32")
    height = np.where(whole[4] < 0.35, 0.12 * whole[5], 0)
    pace = 2 + 7 * whole[6]
    phase = rng.random((3, points.shape[1], 1), dtype="float32") * 6.3
    waves = np.sin(pace * p[[1, 2, 0]] + phase) * np.sin(pace * p + whole[7])
    return p + (height * waves).astype("float32")


def kept(points, count, views, program, rng):
    """`count` points of each cloud, behind its cuts and seen in its view."""
    whole = program.whole
    score = rng.random(points.shape[1:], dtype="float32")
    score += 1000 * _cut(points, whole[8:12], rng)
    seen = rng.random(points.shape[1]) < views
    score[seen] += 100 * _depth_behind(points[:, seen], rng)
    order = np.argpartition(score, count - 1, axis=1)[:, :count]
    return np.take_along_axis(points, order[None], axis=2)


def _cut(points, numbers, rng):
    """Which points a half-space, ball, slab or cylinder takes away."""
    clouds = points.shape[1]
    share = np.where(numbers[0] < 0.45, MOST_CUT * numbers[1], 0)
    way = rng.standard_normal((3, clouds, 1), dtype="float32")
    way /= np.sqrt((way**2).sum(axis=0))
    centre = 0.5 * rng.standard_normal((3, clouds, 1), dtype="float32")
    away = points - centre
    plane = (away * way).sum(axis=0)
    square = (away**2).sum(axis=0)
    kind = (numbers[2][:, None] * 4).astype("int64")
    inside = np.choose(
        kind, [plane, square, np.abs(plane), square - plane**2]
    )
    last = (share * (points.shape[2] - 1)).astype("int64")
    bound = np.sort(inside, axis=1)[np.arange(clouds), last]
    return inside < np.where(share > 0, bound, -np.inf)[:, None]


def _depth_behind(points, rng):
    """How far behind the foremost of its pixel a point lies, at most 1."""
    clouds = points.shape[1]
    yaw = rng.random((clouds, 1), dtype="float32") * np.float32(2 * np.pi)
    pitch = rng.random((clouds, 1), dtype="float32") * 0.9 - 0.1
    x, y, z = points
    x, z = np.cos(yaw) * x + np.sin(yaw) * z, np.cos(yaw) * z - np.sin(yaw) * x
    y, z = (
        np.cos(pitch) * y - np.sin(pitch) * z,
        np.cos(pitch) * z + np.sin(pitch) * y,
    )
    side = int(2 / PIXEL) + 2
    column = ((x + 1) / PIXEL).astype("int64")
    row = ((y + 1) / PIXEL).astype("int64")
    pixel = (np.arange(clouds)[:, None] * side + row) * side + column
    nearest = np.full(clouds * side * side, -2, dtype="float32")
    np.maximum.at(nearest, pixel.reshape(-1), z.reshape(-1))
    return np.clip(nearest[pixel] - z - SLACK, 0, 1)
