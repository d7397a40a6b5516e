"""Closed triangle meshes of parametric solids, the pieces of every shape.

Every solid is watertight on its own and wound outward, so that the normal of
a face tells inside from outside. The axis of a solid of revolution is y (up).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

_CORNERS = np.array(
    [(x, y, z) for x in (-0.5, 0.5) for y in (0.0, 1.0) for z in (-0.5, 0.5)]
)
_BOX_FACES = np.array(
    [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
    + [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
)


class Mesh(NamedTuple):
    """Triangles: vertices (num_vertices, 3) and faces (num_faces, 3)."""

    vertices: np.ndarray
    faces: np.ndarray


def cross(a, b):
    """Cross product of rows; faster than `np.cross` on small arrays."""
    out = np.empty(a.shape)
    out[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    out[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    out[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return out


def dot(a, b):
    """Dot product of rows; faster than a sum over three columns."""
    return np.einsum("ij,ij->i", a, b)


def bounds(points):
    """Lowest and highest coordinates, (3,) each."""
    columns = np.ascontiguousarray(points.T)
    return columns.min(axis=1), columns.max(axis=1)


def face_vectors(mesh):
    """Normals of length twice the area, one per face, (num_faces, 3)."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return cross(b - a, c - a)


def volume(mesh):
    """Signed volume; positive when the faces are wound outward."""
    corner = mesh.vertices[mesh.faces[:, 0]]
    return float(np.vdot(corner, face_vectors(mesh))) / 6.0


def merge(*meshes):
    """One mesh of several."""
    counts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + n for mesh, n in zip(meshes, counts)]),
    )


def box(size, at=(0.0, 0.0, 0.0), top=(1.0, 1.0), lean=(0.0, 0.0)):
    """Boxes standing on the centres of their lower faces, in one mesh.

    Args:
        size: (3,) or (boxes, 3). Width (x), height (y), depth (z).
        at: (3,) or (boxes, 3). Centre of the lower face.
        top: (2,) or (boxes, 2). Scale of the upper face in x and z.
        lean: (2,) or (boxes, 2). Shift of the upper face in x and z.
    """
    size, at = np.broadcast_arrays(np.atleast_2d(size), np.atleast_2d(at))
    count = len(size)
    corners = np.repeat(_CORNERS[None], count, axis=0) * size[:, None]
    upper = _CORNERS[:, 1] > 0
    plan = corners[:, upper][:, :, (0, 2)]
    plan = plan * np.atleast_2d(top)[:, None] + np.atleast_2d(lean)[:, None]
    corners[:, upper, 0] = plan[..., 0]
    corners[:, upper, 2] = plan[..., 1]
    corners += at[:, None]
    offsets = 8 * np.arange(count)[:, None, None]
    return Mesh(corners.reshape(-1, 3), (_BOX_FACES + offsets).reshape(-1, 3))


@lru_cache(maxsize=256)
def _loft_faces(rows, columns, ends):
    here = np.arange(rows * columns).reshape(rows, columns)
    there = np.roll(here, -1, axis=0)
    if ends != "ring":
        here, there = here[:-1], there[:-1]
    a, b = here, np.roll(here, -1, axis=1)
    c, d = np.roll(there, -1, axis=1), there
    faces = [np.stack([a, b, c], -1), np.stack([a, c, d], -1)]
    faces = [face.reshape(-1, 3) for face in faces]
    if ends == "fan":
        left = np.arange(columns)
        right = np.roll(left, -1)
        first = np.full(columns, rows * columns)
        cap, shift = np.stack([right, left, first], -1), [0, 0, 1]
        far = cap + np.array([1, 1, 0]) * (rows - 1) * columns + shift
    elif ends == "strip":
        left = np.arange(columns // 2 - 1)
        right = columns - 1 - left
        one = np.stack([right, left + 1, left], -1)
        two = np.stack([right, right - 1, left + 1], -1)
        cap = np.concatenate([one, two])
        far = cap + (rows - 1) * columns
    if ends != "ring":
        faces += [cap, far[:, ::-1]]
    return np.concatenate(faces)


def loft(sections, ends="fan"):
    """A skin over cross-sections, (sections, corners, 3).

    Args:
        sections: the corners of each section, in the same order.
        ends: what closes the skin. "fan": triangles about the centre of the
            first and of the last section, which must be star-shaped.
            "strip": quadrilaterals between corner k and the k-th last, for
            thin bent sections. "ring": the last section joins the first.
    """
    sections = np.asarray(sections, dtype="float64")
    rows, columns = sections.shape[:2]
    vertices = sections.reshape(-1, 3)
    if ends == "fan":
        middle = sections[[0, -1]].mean(axis=1)
        vertices = np.concatenate([vertices, middle])
    mesh = Mesh(vertices, _loft_faces(rows, columns, ends))
    if volume(mesh) < 0:
        mesh = Mesh(mesh.vertices, mesh.faces[:, ::-1])
    return mesh


@lru_cache(maxsize=64)
def circle(sides, power=2.0):
    """Points of |x|^p + |z|^p = 1: circle (2), rounded square (above)."""
    angle = 2.0 * np.pi * (np.arange(sides) + 0.5) / sides
    plan = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.sign(plan) * np.abs(plan) ** (2.0 / power)


def lathe(profile, at=(0.0, 0.0, 0.0), sides=20, power=2.0, ring=False):
    """Surface of revolution of (radius, y) pairs about the y axis.

    A profile that goes up outside and down inside makes a vessel. `power`
    above 2 squares the cross-section; `ring=True` closes the profile.
    """
    profile = np.asarray(profile, dtype="float64")
    plan = circle(sides, power)
    sections = np.empty((len(profile), sides, 3))
    sections[..., 0] = profile[:, :1] * plan[:, 0] + at[0]
    sections[..., 1] = profile[:, 1:] + at[1]
    sections[..., 2] = profile[:, :1] * plan[:, 1] + at[2]
    return loft(sections, "ring" if ring else "fan")


def cylinder(radius, height, at=(0.0, 0.0, 0.0), top=1.0, sides=16):
    """Cylinder or, with `top`, a cone frustum standing on `at`."""
    return lathe([(radius, 0.0), (radius * top, height)], at, sides)


def slab(size, at=(0.0, 0.0, 0.0), power=2.0, sides=28, top=1.0):
    """Plate with the outline of `circle(sides, power)` standing on `at`."""
    width, height, depth = size
    mesh = lathe([(1.0, 0.0), (top, height)], (0, 0, 0), sides, power)
    return moved(scaled(mesh, (width / 2, 1.0, depth / 2)), at)


def ellipsoid(size, at=(0.0, 0.0, 0.0), power=2.0, sides=16):
    """Ellipsoid (2) or cushion (above 2) of this size, its centre at `at`."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    profile = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    profile[[0, -1], 0] = 0.0
    profile = np.sign(profile) * np.abs(profile) ** (2.0 / power)
    mesh = lathe(profile, (0, 0, 0), sides, power)
    return moved(scaled(mesh, np.asarray(size) / 2), at)


def torus(major, minor, at=(0.0, 0.0, 0.0), sides=24):
    """Ring about the y axis with the centre `at`."""
    profile = minor * circle(8) + (major, 0.0)
    return lathe(profile, at, sides, ring=True)


def tube(path, radius, sides=8, power=2.0, normal=None):
    """Sweep of a circle along a path, (points, 3).

    Args:
        path: centres of the sections. A curved path should be planar.
        radius: number, or one per point of the path.
        sides: corners of a section.
        power: `circle`'s power of the section.
        normal: a direction that the path is never parallel to. Defaults to
            the axis along which the path extends least.
    """
    path = np.asarray(path, dtype="float64")
    if normal is None:
        normal = np.zeros(3)
        normal[np.argmin(path.max(axis=0) - path.min(axis=0))] = 1.0
    tangent = np.gradient(path, axis=0)
    side = cross(tangent, np.broadcast_to(normal, path.shape))
    side /= np.sqrt(dot(side, side))[:, None]
    up = cross(side, tangent)
    up /= np.sqrt(dot(up, up))[:, None]
    plan = circle(sides, power)[None] * np.reshape(radius, (-1, 1, 1))
    sections = path[:, None] + plan[..., :1] * side[:, None]
    return loft(sections + plan[..., 1:] * up[:, None])


def rod(start, end, radius, sides=8, power=2.0):
    """Straight bar between two points."""
    return tube([start, end], radius, sides, power)


def spline(points, count):
    """Catmull-Rom curve through control points, (count, dim)."""
    points = np.asarray(points, dtype="float64")
    padded = np.concatenate(
        [2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]]
    )
    t = np.linspace(0.0, len(points) - 1, count)
    left = np.minimum(t.astype("int64"), len(points) - 2)
    t = (t - left)[:, None]
    p0, p1, p2, p3 = (padded[left + k] for k in range(4))
    return 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - 3 * p2 + p3 - p0) * t**3
    )


def moved(mesh, offset):
    """The mesh shifted by (x, y, z)."""
    return Mesh(mesh.vertices + np.asarray(offset), mesh.faces)


def scaled(mesh, factors):
    """The mesh scaled by a positive number or by three."""
    return Mesh(mesh.vertices * np.asarray(factors), mesh.faces)


def turned(mesh, axis, angle):
    """The mesh rotated about "x", "y" or "z" through the origin."""
    a = ("xyz".index(axis) + 1) % 3
    b = (a + 1) % 3
    vertices = mesh.vertices.copy()
    cos, sin = np.cos(angle), np.sin(angle)
    vertices[:, a] = cos * mesh.vertices[:, a] - sin * mesh.vertices[:, b]
    vertices[:, b] = sin * mesh.vertices[:, a] + cos * mesh.vertices[:, b]
    return Mesh(vertices, mesh.faces)


def mirrored(mesh, axis="x"):
    """The mesh and its mirror image along an axis, in one mesh."""
    image = mesh.vertices.copy()
    image[:, "xyz".index(axis)] *= -1.0
    return merge(mesh, Mesh(image, mesh.faces[:, ::-1]))
