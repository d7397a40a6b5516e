import numpy as np
import pytest

from keras_pointpeft.data.shapes import CATEGORIES
from keras_pointpeft.data.shapes import primitives as p
from keras_pointpeft.data.shapes.categories import Solid
from keras_pointpeft.data.shapes.categories import build
from keras_pointpeft.data.shapes.surface import sample

pytestmark = pytest.mark.once


def _area(mesh):
    return np.linalg.norm(p.face_vectors(mesh), axis=1).sum() / 2


def _is_watertight(mesh):
    """Every edge of a face is the reverse of an edge of another face."""
    _, same = np.unique(mesh.vertices.round(9), axis=0, return_inverse=True)
    faces = same.ravel()[mesh.faces]
    edges = np.concatenate([faces[:, (k, (k + 1) % 3)] for k in range(3)])
    edges = edges[edges[:, 0] != edges[:, 1]]
    count = len(mesh.vertices)
    there = np.sort(edges[:, 0] * count + edges[:, 1])
    back = np.sort(edges[:, 1] * count + edges[:, 0])
    return np.array_equal(there, back)


CASES = {
    "box": (p.box((1, 2, 3), (4, 5, 6)), 6.0, 22.0),
    "two boxes": (p.box((1, 1, 1), [(0, 0, 0), (3, 0, 0)]), 2.0, 12.0),
    "tapered box": (p.box((2, 3, 2), top=(0.5, 0.5)), 7.0, None),
    "leaning box": (p.box((1, 2, 1), lean=(1, 0.5)), 2.0, None),
    "cylinder": (
        p.cylinder(0.5, 2, sides=400),
        np.pi / 2,
        2.5 * np.pi,
    ),
    "frustum": (
        p.cylinder(2, 3, top=0.5, sides=400),
        7 * np.pi,
        5 * np.pi + 3 * np.pi * np.sqrt(10),
    ),
    "square prism": (
        p.lathe([(1, 0), (1, 1)], sides=4),
        2.0,
        4 + 4 * np.sqrt(2),
    ),
    "vessel": (
        p.lathe([(0, 0), (1, 0), (1, 1), (0.5, 1), (0.5, 0.5), (0, 0.5)]),
        None,
        None,
    ),
    "slab": (p.slab((2, 3, 4), sides=400), 6 * np.pi, None),
    "rounded slab": (p.slab((2, 3, 4), (1, 1, 1), 6.0), None, None),
    "ellipsoid": (p.ellipsoid((2, 4, 6)), None, None),
    "cushion": (p.ellipsoid((2, 4, 6), power=5.0), None, None),
    "torus": (p.torus(3, 1, sides=400), None, None),
    "rod": (
        p.rod((0, 0, 0), (3, 4, 0), 1, sides=400),
        5 * np.pi,
        12 * np.pi,
    ),
    "tube": (p.tube([(1, 0, 0), (0, 1, 0), (-1, 0, 0)], 0.1), None, None),
    "strip": (
        p.loft(
            [
                [(x, y, x * x) for x in (-1, 0, 1)]
                + [(1, y, 0), (0, y, -1)]
                + [(-1, y, 0)]
                for y in (0, 1)
            ],
            "strip",
        ),
        2.0,
        None,
    ),
    "turned": (p.turned(p.box((1, 2, 3)), "x", 1.0), 6.0, 22.0),
    "scaled": (p.scaled(p.box((1, 1, 1)), (1, 2, 3)), 6.0, 22.0),
    "moved": (p.moved(p.box((1, 2, 3)), (7, 8, 9)), 6.0, 22.0),
    "mirrored": (p.mirrored(p.box((1, 2, 3), (5, 0, 0))), 12.0, 44.0),
}


@pytest.mark.parametrize("name", CASES)
def test_solids_are_closed_and_wound_outward(name):
    mesh, volume, area = CASES[name]
    assert _is_watertight(mesh)
    assert p.volume(mesh) > 0
    if volume is not None:
        np.testing.assert_allclose(p.volume(mesh), volume, rtol=1e-3)
    if area is not None:
        np.testing.assert_allclose(_area(mesh), area, rtol=1e-3)


@pytest.mark.parametrize("category", CATEGORIES)
def test_shapes_are_closed(category):
    for index in range(12):
        mesh = build(category, np.random.default_rng(index)).mesh
        assert _is_watertight(mesh)
        # No two corners of different solids may meet by chance here, so the
        # whole volume is the sum of the solids'.
        assert p.volume(mesh) > 0


def test_turns_are_right_handed():
    for axis, start, end in (
        ("x", (0, 1, 0), (0, 0, 1)),
        ("y", (0, 0, 1), (1, 0, 0)),
        ("z", (1, 0, 0), (0, 1, 0)),
    ):
        mesh = p.Mesh(np.array([start], dtype=float), np.zeros((0, 3), int))
        turned = p.turned(mesh, axis, np.pi / 2).vertices[0]
        np.testing.assert_allclose(turned, end, atol=1e-12)


def test_spline_passes_through_its_points():
    points = np.array([(0.0, 1.0), (2.0, 0.0), (3.0, 5.0), (4.0, 4.0)])
    np.testing.assert_allclose(p.spline(points, 7)[::2], points, atol=1e-12)
    line = np.linspace((0, 0, 1), (3, 6, 1), 4)
    np.testing.assert_allclose(
        p.spline(line, 10), np.linspace((0, 0, 1), (3, 6, 1), 10), atol=1e-12
    )


def _box_and_ball():
    box = p.box((2, 2, 2), (0, -1, 0))
    ball = p.ellipsoid((1, 1, 1), (5, 0, 0), sides=40)
    parts = np.repeat([1, 2], [len(box.faces), len(ball.faces)])
    return Solid(p.merge(box, ball), parts.astype("int32"))


def test_samples_lie_on_the_surface_in_proportion_to_area():
    solid = _box_and_ball()
    found = sample(solid, 20000, np.random.default_rng(0))
    on_box = found.points[found.parts == 1]
    np.testing.assert_allclose(np.abs(on_box).max(axis=1), 1.0, atol=1e-9)
    share = 24.0 / _area(solid.mesh)
    # Five standard deviations of a binomial.
    tolerance = 5 * np.sqrt(share * (1 - share) / 20000)
    assert abs((found.parts == 1).mean() - share) < tolerance
    for axis in range(3):
        for side in (-1.0, 1.0):
            face = np.isclose(on_box[:, axis], side, atol=1e-9)
            assert abs(face.mean() - 1 / 6) < 0.02
            normal = np.zeros(3)
            normal[axis] = side
            normals = found.normals[found.parts == 1][face]
            assert (np.abs(normals - normal).max(axis=1) < 1e-9).mean() > 0.99
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1.0)


def test_samples_towards_a_viewer_lie_on_faces_turned_to_it():
    eyes = np.array([(0.0, 0.0, 9.0)])
    solid = _box_and_ball()
    found = sample(solid, 2000, np.random.default_rng(0), eyes)
    assert (((eyes - found.points) * found.normals).sum(axis=1) > 0).all()
    np.testing.assert_allclose(found.points[found.parts == 1, 2], 1.0)
