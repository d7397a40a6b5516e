"""Polygons of any number of corners, and strips, as triangles."""

import numpy as np

# So much of its area a corner must turn back to be no error of rounding.
_FLAT = 1e-6
# Ears are looked for one by one.
_MOST_CORNERS = 5000


def triangles(polygons, points):
    """Polygons as triangles: fans, or cut by ears where one turns back.

    Args:
        polygons: int array `(polygons, corners)`, or a list of such arrays of
            different lengths.
        points: array `(points, 3)`, the vertices.

    Returns:
        int64 array `(triangles, 3)`.

    Raises:
        ValueError: a corner that is not there, or a polygon that turns back
            and has more corners than can be cut one by one.
    """
    if not isinstance(polygons, np.ndarray):
        by_size = {}
        for polygon in polygons:
            by_size.setdefault(len(polygon), []).append(polygon)
        parts = [triangles(np.array(p), points) for p in by_size.values()]
        return np.concatenate([np.empty((0, 3), "int64"), *parts])
    corners = polygons.astype("int64")
    if corners.size and not 0 <= corners.min() <= corners.max() < len(points):
        raise ValueError(
            f"a face with corners {corners.min()} to {corners.max()} of "
            f"{len(points)} vertices"
        )
    size = corners.shape[1]
    if size < 3:
        return np.empty((0, 3), "int64")
    rows = np.stack(
        [corners[:, [0, i, i + 1]] for i in range(1, size - 1)], axis=1
    )
    if size > 3:
        for number, flat in _concave(corners, points):
            rows[number] = corners[number][_ears(flat)]
    return rows.reshape(-1, 3)


def strip_triangles(strip):
    """The triangles of one strip, those without an area left out."""
    strip = np.asarray(strip, "int64")
    rows = np.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1)
    rows[1::2] = rows[1::2, [1, 0, 2]]
    a, b, c = rows.T
    return rows[(a != b) & (b != c) & (a != c)]


def _concave(corners, points):
    """Polygons whose fan would reach beyond them, seen along their normal.

    Yields:
        their number and their corners in the plane, counter-clockwise.
    """
    # From a corner of its own: a place on a map has no digits to spare.
    places = np.asarray(points, "float64")[corners]
    places -= places[:, :1]
    after = np.roll(places, -1, axis=1)
    normal = np.cross(places, after).sum(axis=1)
    edges = after - places
    turns = np.cross(np.roll(edges, 1, axis=1), edges)
    turns = np.einsum("pci,pi->pc", turns, normal)
    square = (normal**2).sum(axis=1)
    back = (turns < -_FLAT * square[:, None]).any(axis=1) & (square > 0)
    for number in np.flatnonzero(back):
        if corners.shape[1] > _MOST_CORNERS:
            raise ValueError(
                f"a polygon of {corners.shape[1]} corners that turns back"
            )
        axis = np.abs(normal[number]).argmax()
        flat = np.delete(places[number], axis, axis=1)
        if (normal[number, axis] < 0) != (axis == 1):
            flat = flat[:, ::-1]
        yield number, flat


def _ears(flat):
    """Triangles of one polygon in the plane, `(corners - 2, 3)`."""
    left, found = list(range(len(flat))), []
    while len(left) > 3:
        for place in range(len(left)):
            ear = [left[place - 1], left[place], left[(place + 1) % len(left)]]
            if _is_ear(flat, ear, left):
                break
        # Without one the polygon cuts itself: any corner does.
        found.append(ear)
        left.remove(ear[1])
    return np.array([*found, left])


def _is_ear(flat, ear, left):
    corners = flat[ear]
    edges = np.roll(corners, -1, axis=0) - corners
    if _cross(edges[0], edges[1]) <= 0:
        return False
    others = flat[[corner for corner in left if corner not in ear]]
    inside = np.ones(len(others), bool)
    for corner, edge in zip(corners, edges):
        inside &= _cross(edge, others - corner) >= 0
        # A hole is joined by an edge there and back.
        inside &= (others != corner).any(axis=1)
    return not inside.any()


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
