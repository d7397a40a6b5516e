"""Polygons cut into triangles, against their area by the shoelace formula."""

import numpy as np
import pytest

from keras_pointpeft.data.formats.polygons import strip_triangles
from keras_pointpeft.data.formats.polygons import triangles

pytestmark = pytest.mark.once

# Corners on a circle at random radii never cross each other.
STARS = [3, 4, 5, 8, 30]


def star(size, seed):
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, size, endpoint=False)
    radii = rng.uniform(0.2, 2, size)
    return np.c_[radii * np.cos(angles), radii * np.sin(angles)]


def shoelace(flat):
    x, y = flat.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def area(points, rows):
    a, b, c = np.moveaxis(points[rows], 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


@pytest.mark.parametrize("size", STARS)
@pytest.mark.parametrize("turn", range(4))
def test_areas_of_polygons_that_turn_back(size, turn):
    rotation = np.linalg.qr(np.random.default_rng(turn).normal(size=(3, 3)))[0]
    for seed in range(20):
        flat = star(size, seed)[:: 1 if seed % 2 else -1]
        points = np.c_[flat, np.zeros(size)] @ rotation.T
        for far in (0, np.array([4e5, 5.4e6, 352])):
            rows = triangles([np.arange(size)], points + far)
            assert rows.shape == (size - 2, 3)
            # No overlap, and nothing beyond the polygon.
            assert abs(area(points, rows) - shoelace(flat)) < 1e-6


def test_convex_polygons_are_fans():
    angles = np.linspace(0, 2 * np.pi, 7)[:-1]
    points = np.c_[np.cos(angles), np.sin(angles), 0 * angles]
    rows = triangles(np.arange(6)[None], points)
    assert rows.tolist() == [[0, i, i + 1] for i in range(1, 5)]


def test_a_hole_that_is_joined_by_an_edge():
    outer = [(0, 0), (4, 0), (4, 4), (0, 4)]
    hole = [(1, 1), (1, 3), (3, 3), (3, 1)]
    flat = np.array([*outer, outer[0], hole[0], *hole[1:], hole[0]], "f8")
    points = np.c_[flat, np.zeros(len(flat))]
    rows = triangles([np.arange(len(points))], points)
    assert abs(area(points, rows) - 12) < 1e-9


def test_degenerate_polygons_end():
    for points in (np.zeros((6, 3)), np.eye(3)[[0, 0, 1, 1, 2, 2]]):
        assert triangles(np.arange(6)[None], points).shape == (4, 3)
    bow = np.array([(0, 0, 0), (3, 1, 0), (3, 0, 0), (0, 2, 0)], "f8")
    assert triangles(np.arange(4)[None], bow).shape == (2, 3)
    assert triangles(np.arange(2)[None], bow).shape == (0, 3)


def test_corners_that_are_not_there():
    with pytest.raises(ValueError, match="corners 0 to 4 of 4 vertices"):
        triangles([np.arange(5)], np.zeros((4, 3)))
    with pytest.raises(ValueError, match="corners -1 to 1"):
        triangles([np.array([0, 1, -1])], np.zeros((4, 3)))


def test_strips():
    rows = strip_triangles([0, 1, 2, 2, 3])
    assert rows.tolist() == [[0, 1, 2]]
    assert strip_triangles([0, 1, 2, 3]).tolist() == [[0, 1, 2], [2, 1, 3]]
