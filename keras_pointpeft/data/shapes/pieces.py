"""Points on the surfaces of parametric pieces, many pieces at once.

A piece is a kind and four numbers in [0, 1) that bend it; its points fill the
cube [-1, 1]^3, y up. Each function takes flat arrays with one entry a point:
`u`, `v`, `w` uniform in [0, 1), and the four numbers of the point's piece.
"""

import numpy as np

_TURN = np.float32(2 * np.pi)


def box(u, v, w, a, b, c, d):
    """A box, its upper face smaller by `a`, leaning by `b`."""
    side = (w * 6).astype("int8")
    sign = np.where(side % 2 == 0, np.float32(-1), np.float32(1))
    p, q = 2 * u - 1, 2 * v - 1
    x = np.where(side < 2, sign, p)
    y = np.where(side < 2, p, np.where(side < 4, sign, q))
    z = np.where(side < 4, q, sign)
    up = (y + 1) / 2
    top = 1 - up * np.maximum(0, 1.6 * a - 0.8)
    return x * top + up * np.maximum(0, b - 0.6), y, z * top


def prism(u, v, w, a, b, c, d):
    """Prism, cylinder, pyramid or cone, with or without its ends."""
    corners = np.floor(3 + 6 * a)
    angle = u * _TURN
    # Above six corners it is round.
    wedge = _TURN / corners
    within = np.mod(angle, wedge) - wedge / 2
    flat = np.cos(wedge / 2) / np.cos(within)
    edge = np.where(corners > 6, np.float32(1), flat)
    top = np.minimum(1, 1.4 * b)
    ended = c < 0.7
    end = ended & (w < 0.3)
    upper = w < 0.15
    radius = np.where(end, np.sqrt(v) * np.where(upper, top, 1), 0)
    y = np.where(end, np.where(upper, np.float32(1), np.float32(-1)), 2 * v - 1)
    radius = np.where(end, radius, 1 + (top - 1) * v) * edge
    return radius * np.cos(angle), y, radius * np.sin(angle)


def _power(x, p):
    return np.sign(x) * np.abs(x) ** p


def ball(u, v, w, a, b, c, d):
    """A superellipsoid, from a cushion to a star; whole or a dome."""
    angle = u * _TURN
    rise = 2 * v - 1
    rise = np.where(d < 0.3, rise * (0.5 + c / 2) - (0.5 - c / 2), rise)
    flat = np.sqrt(1 - rise * rise)
    across = 0.3 + 1.2 * a
    wide = _power(flat, 0.3 + 1.2 * b)
    x = wide * _power(np.cos(angle), across)
    z = wide * _power(np.sin(angle), across)
    return x, _power(rise, 0.3 + 1.2 * b), z


def ring(u, v, w, a, b, c, d):
    """A torus or an arc of one."""
    angle = u * _TURN * np.where(b < 0.5, np.float32(1), 0.25 + c / 2)
    minor = 0.04 + 0.4 * a * a
    around = v * _TURN
    major = (1 - minor) + minor * np.cos(around)
    return (
        major * np.cos(angle),
        minor * np.sin(around) / (0.1 + minor),
        major * np.sin(angle),
    )


def wire(u, v, w, a, b, c, d):
    """A wire: straight, helical or swung."""
    around = v * _TURN
    minor = 0.02 + 0.1 * a
    turns = np.where(d < 0.4, np.floor(1 + 5 * b), (0.2 + b) / 2)
    angle = u * _TURN * turns
    radius = (0.9 - minor) * np.where(c < 0.3, 1 - u, np.float32(1))
    x = (radius + minor * np.cos(around)) * np.cos(angle)
    z = (radius + minor * np.cos(around)) * np.sin(angle)
    return x, 2 * u - 1 + minor * np.sin(around), z


def frame(u, v, w, a, b, c, d):
    """The twelve edges of a box, or four or eight of them."""
    edges = np.where(d < 0.5, 12, np.where(d < 0.75, 8, 4))
    edge = (w * edges).astype("int8")
    way = edge // 4
    p = np.where(edge % 2 == 0, np.float32(-1), np.float32(1))
    q = np.where(edge // 2 % 2 == 0, np.float32(-1), np.float32(1))
    minor = 0.02 + 0.1 * a
    p = p * (1 - minor) + minor * np.cos(v * _TURN)
    q = q * (1 - minor) + minor * np.sin(v * _TURN)
    along = 2 * u - 1
    x = np.where(way == 1, along, p)
    y = np.where(way == 0, along, np.where(way == 1, p, q))
    return x, y, np.where(way == 2, along, q)


def sheet(u, v, w, a, b, c, d):
    """A thin sheet, flat, wavy or rolled."""
    x, z = 2 * u - 1, 2 * v - 1
    wave = np.sin(x * (1 + 6 * a) + d * _TURN) * np.cos(z * (4 * b))
    roll = np.where(c < 0.35, x * x, wave * np.maximum(0, c - 0.5))
    return x, roll, z


def disc(u, v, w, a, b, c, d):
    """A disc or a flat ring, whole or a sector, dished by `c`."""
    inner = np.maximum(0, 1.5 * a - 0.6)
    radius = np.sqrt(inner**2 + v * (1 - inner**2))
    angle = u * _TURN * np.where(b < 0.7, np.float32(1), 0.3 + d / 2)
    dish = np.maximum(0, c - 0.5) * radius * radius
    return radius * np.cos(angle), dish, radius * np.sin(angle)


def vessel(u, v, w, a, b, c, d):
    """A surface of revolution with a waist or a belly."""
    belly = 0.6 + 0.4 * np.cos(v * (1 + 5 * a) * np.pi + b * _TURN)
    radius = 0.15 + 0.85 * belly * (1 - c * 0.8 * v)
    bottom = (w < 0.12) & (d < 0.7)
    start = 0.15 + 0.85 * (0.6 + 0.4 * np.cos(b * _TURN))
    radius = np.where(bottom, start * np.sqrt(v), radius)
    angle = u * _TURN
    y = np.where(bottom, np.float32(-1), 2 * v - 1)
    return radius * np.cos(angle), y, radius * np.sin(angle)


def blob(u, v, w, a, b, c, d):
    """A ball with bumps."""
    angle, rise = u * _TURN, 2 * v - 1
    flat = np.sqrt(1 - rise * rise)
    x, y, z = flat * np.cos(angle), rise, flat * np.sin(angle)
    bump = np.sin(x * (2 + 4 * a) + c * _TURN) * np.sin(z * (2 + 4 * b))
    bump += np.sin(y * (1 + 5 * c) + d * _TURN)
    size = 0.75 + 0.12 * bump
    return x * size, y * size, z * size


KINDS = (box, prism, ball, ring, wire, frame, sheet, disc, vessel, blob)
# Size and share of points: what fills less of its cube gets fewer.
SHARES = np.array([1, 0.8, 0.7, 0.5, 0.3, 0.35, 0.5, 0.5, 0.8, 0.6], "float32")


def surfaces(kinds, numbers, rng):
    """A point of each piece.

    Args:
        kinds: int array `(points,)` into `KINDS`.
        numbers: float32 array `(4, points)`.
        rng: `numpy.random.Generator`.

    Returns:
        float32 array `(3, points)`.
    """
    order = np.argsort(kinds, kind="stable")
    ends = np.searchsorted(kinds[order], np.arange(len(KINDS) + 1))
    at = rng.random((3, len(kinds)), dtype="float32")
    sorted_numbers = numbers[:, order]
    found = np.empty((3, len(kinds)), dtype="float32")
    for kind, make in enumerate(KINDS):
        some = slice(ends[kind], ends[kind + 1])
        found[:, some] = make(*at[:, some], *sorted_numbers[:, some])
    points = np.empty_like(found)
    points[:, order] = found
    return points
