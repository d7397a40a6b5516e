import numpy as np
import pytest

from keras_pointpeft.data import fps
from keras_pointpeft.ops.accelerators import host

from .conftest import make_clouds

pytestmark = pytest.mark.once


def reference(cloud, count, start=0):
    """The definition, one point after the other."""
    cloud = cloud.astype("float32")
    nearest = np.full(len(cloud), np.inf, "float32")
    chosen = [start]
    for _ in range(count - 1):
        delta = cloud - cloud[chosen[-1]]
        square = delta * delta
        distance = (square[:, 0] + square[:, 1]) + square[:, 2]
        nearest = np.minimum(nearest, distance)
        chosen.append(int(np.flatnonzero(nearest == nearest.max())[0]))
    return chosen


def lattice(count, points):
    """Many exact ties and duplicates."""
    return np.round(make_clouds(count, points), 1)


@pytest.fixture(params=["numpy", "numba"])
def kind(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(host, "numba_loops", lambda: None)
    else:
        pytest.importorskip("numba")
    return request.param


@pytest.mark.parametrize("make", [make_clouds, lattice])
@pytest.mark.parametrize("points, count", [(40, 40), (300, 50), (1, 1)])
def test_against_the_definition(kind, make, points, count):
    clouds = make(3, points)
    got = fps.farthest_point_indices(clouds, count)
    assert got.dtype == "int32"
    for row, cloud in zip(got, clouds):
        assert row.tolist() == reference(cloud, count)


def test_start(kind):
    clouds = make_clouds(3, 60)
    got = fps.farthest_point_indices(clouds, 20, np.array([5, 0, 59]))
    for row, cloud, start in zip(got, clouds, [5, 0, 59]):
        assert row.tolist() == reference(cloud, 20, start)


def test_layout_and_type_do_not_matter(kind):
    clouds = make_clouds(4, 50)
    expected = fps.farthest_point_indices(clouds, 20)
    turned = np.asfortranarray(clouds).astype("float64")
    np.testing.assert_array_equal(
        fps.farthest_point_indices(turned, 20), expected
    )
    np.testing.assert_array_equal(
        fps.farthest_point_indices(clouds[::2], 20), expected[::2]
    )


@pytest.mark.parametrize(
    "shape, count, start",
    [
        ((2, 8), 4, 0),
        ((2, 8, 2), 4, 0),
        ((2, 8, 3), 9, 0),
        ((2, 8, 3), 0, 0),
        ((2, 8, 3), 4, 8),
        ((2, 8, 3), 4, -1),
    ],
)
def test_wrong_arguments(kind, shape, count, start):
    with pytest.raises(ValueError, match="Received"):
        fps.farthest_point_indices(np.zeros(shape), count, start)


def test_no_point_and_bad_numbers_end(kind):
    assert fps.farthest_point_indices(np.zeros((0, 8, 3)), 4).shape == (0, 4)
    got = fps.farthest_point_indices(np.full((1, 8, 3), np.nan), 4)
    assert ((0 <= got) & (got < 8)).all()
