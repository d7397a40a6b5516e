import numpy as np
import pytest

from keras_pointpeft.data.shapes import CATEGORIES
from keras_pointpeft.data.shapes import ROOM_CLASSES
from keras_pointpeft.data.shapes import make_rooms

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def rooms():
    return make_rooms(12, points_per_room=4096, seed=1)


def test_shapes_and_dtypes(rooms):
    assert rooms.points.shape == (12, 4096, 3)
    assert rooms.points.dtype == np.float32
    assert rooms.labels.shape == (12, 4096)
    assert rooms.labels.dtype == np.int32
    assert rooms.class_names == ROOM_CLASSES
    assert len(set(ROOM_CLASSES)) == len(ROOM_CLASSES)
    known = {"ceiling", "floor", "wall", "clutter", *CATEGORIES}
    assert set(ROOM_CLASSES) <= known


def test_every_room_has_its_shell_and_furniture(rooms):
    for labels in rooms.labels:
        assert {0, 1, 2} <= set(labels)
        assert (labels > 2).mean() > 0.3
    seen = np.unique(rooms.labels)
    assert len(seen) >= len(ROOM_CLASSES) - 2


def test_floor_and_ceiling_and_walls_stand_where_they_should(rooms):
    names = np.array(ROOM_CLASSES)
    for points, labels in zip(rooms.points, rooms.labels):
        name = names[labels]
        ceiling = points[name == "ceiling", 1]
        assert np.abs(points[name == "floor", 1]).max() < 0.06
        assert np.ptp(ceiling) < 0.12
        assert 2.2 < ceiling.mean() < 3.3
        high = points.max(axis=0)
        wall = points[name == "wall"]
        gaps = np.minimum(np.abs(wall), np.abs(high - wall))[:, [0, 2]]
        assert gaps.min(axis=1).max() < 0.12
        assert points.min() > -0.06
        assert (high[[0, 2]] > 2.9).all()


def test_furniture_does_not_overlap():
    # A room's sofa, bed and so on are few; their boxes must not meet in
    # plan, so no cell of 20 cm holds points of three of those classes.
    rooms = make_rooms(6, 8192, seed=4)
    solid = [ROOM_CLASSES.index(n) for n in ("bed", "sofa", "cabinet")]
    for points, labels in zip(rooms.points, rooms.labels):
        cells = [
            {tuple(c) for c in (points[labels == k][:, [0, 2]] // 0.2)}
            for k in solid
        ]
        assert not set.intersection(*cells)


def test_deterministic_and_independent_of_chunks(rooms):
    chunk = make_rooms(2, points_per_room=4096, seed=1, start=5)
    np.testing.assert_array_equal(chunk.points, rooms.points[5:7])
    np.testing.assert_array_equal(chunk.labels, rooms.labels[5:7])
    other = make_rooms(2, points_per_room=4096, seed=2, start=5)
    assert np.abs(other.points - chunk.points).max() > 0.1


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"num_rooms": -1}, ValueError, "Received: num_rooms=-1"),
        ({"points_per_room": 3}, ValueError, "at least 64"),
        ({"seed": 0.5}, TypeError, "`seed` must be an integer"),
        ({"start": -1}, ValueError, "Received: start=-1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        make_rooms(**{"num_rooms": 1, **arguments})
