import numpy as np
import pytest

from keras_pointpeft.data import sample_points
from keras_pointpeft.data import unit_sphere
from keras_pointpeft.data.clouds import SAMPLING
from keras_pointpeft.data.clouds import farthest_point_indices
from keras_pointpeft.data.clouds import spread_size
from keras_pointpeft.ops.accelerators import host

from .conftest import make_clouds

pytestmark = pytest.mark.once


def numbered(batch, points):
    """Clouds whose first coordinate says which point it is."""
    clouds = make_clouds(batch, points)
    clouds[..., 0] = np.arange(points)
    return clouds


def which(sampled):
    return sampled[..., 0].astype(int)


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("count", [20, 64])
def test_no_point_is_taken_twice(sampling, count):
    clouds = numbered(5, 64)
    rng = np.random.default_rng(0)
    got = sample_points(clouds, count, sampling, rng)
    assert got.shape == (5, count, 3)
    for cloud, chosen in zip(clouds, got):
        rows = which(chosen)
        assert len(set(rows)) == count
        np.testing.assert_array_equal(chosen, cloud[rows])


def test_random_is_uniform_for_each_cloud():
    rng = np.random.default_rng(0)
    clouds = numbered(4, 8)
    first = np.zeros((4, 8))
    member = np.zeros((4, 8))
    for _ in range(4000):
        rows = which(sample_points(clouds, 3, "random", rng))
        first[np.arange(4), rows[:, 0]] += 1
        np.add.at(member, (np.arange(4)[:, None], rows), 1)
    # Binomial: standard deviation about 21 and 31.
    assert np.abs(first - 500).max() < 100
    assert np.abs(member - 1500).max() < 150


def test_random_differs_between_clouds():
    rows = which(
        sample_points(numbered(4, 64), 64, rng=np.random.default_rng(0))
    )
    assert len({tuple(row) for row in rows}) == 4


def test_fps_and_first():
    clouds = make_clouds(3, 64)
    expected = farthest_point_indices(clouds, 10)
    got = sample_points(clouds, 10, "fps")
    for cloud, rows, chosen in zip(clouds, expected, got):
        np.testing.assert_array_equal(chosen, cloud[rows])
    np.testing.assert_array_equal(
        sample_points(clouds, 10, "first"), clouds[:, :10]
    )


def test_skipped_fps_leaves_a_later_fps_alone():
    clouds = make_clouds(4, 64)
    kept = sample_points(clouds, 64, "fps")
    np.testing.assert_array_equal(kept, clouds)
    order = farthest_point_indices(clouds, 64)
    for cloud, rows in zip(clouds, order):
        again = farthest_point_indices(cloud[rows][None], 16)[0]
        assert again.tolist() == list(range(16))
        direct = farthest_point_indices(cloud[None], 16)[0]
        np.testing.assert_array_equal(cloud[rows][again], cloud[direct])


@pytest.mark.parametrize(
    "num_points, available, expected",
    [
        (1024, 8192, 1200),
        (2048, 8192, 2400),
        (4096, 8192, 4800),
        (8192, 8192, 8192),
        (2048, 2048, 2048),
        (1024, 1100, 1100),
    ],
)
def test_published_sizes(num_points, available, expected):
    assert spread_size(num_points, available) == expected


def test_fps_then_random_takes_from_the_spread_points():
    clouds = numbered(1, 512)
    starts = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        start = int(rng.integers(0, 512, 1)[0])
        starts.add(start)
        spread = farthest_point_indices(clouds, 75, start)[0]
        rng = np.random.default_rng(seed)
        got = which(sample_points(clouds, 64, "fps_then_random", rng))[0]
        assert set(got) <= set(spread.tolist())
        assert got.tolist() != spread[:64].tolist()
    assert len(starts) > 1


@pytest.mark.parametrize("sampling", SAMPLING)
def test_too_few_points(sampling):
    clouds = numbered(3, 10)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="repeat_points.*num_points=25"):
        sample_points(clouds, 25, sampling, rng)
    got = which(sample_points(clouds, 25, sampling, rng, repeat_points=True))
    for row in got:
        counts = np.bincount(row, minlength=10)
        assert counts.min() >= 2 and counts.max() <= 3


def test_wrong_arguments():
    with pytest.raises(ValueError, match="sampling"):
        sample_points(make_clouds(1), 4, "all")
    with pytest.raises(ValueError, match="rng"):
        sample_points(make_clouds(1), 4, "random")


def test_unit_sphere():
    clouds = make_clouds(4, 50)
    got = unit_sphere(clouds)
    assert got.dtype == "float32"
    for cloud, out in zip(clouds.astype("float64"), got):
        cloud = cloud - cloud.mean(axis=0)
        cloud /= np.linalg.norm(cloud, axis=1).max()
        np.testing.assert_allclose(out, cloud, atol=1e-6)
    np.testing.assert_array_equal(unit_sphere(clouds[0]), got[0])


def test_unit_sphere_of_one_place_and_far_away():
    np.testing.assert_array_equal(unit_sphere(np.ones((1, 5, 3))), 0)
    far = unit_sphere(make_clouds(1, 50) + np.float32(1000))
    np.testing.assert_allclose(np.linalg.norm(far, axis=-1).max(), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="Received"):
        unit_sphere(np.zeros((4, 2)))


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
    got = farthest_point_indices(clouds, count)
    assert got.dtype == "int32"
    for row, cloud in zip(got, clouds):
        assert row.tolist() == reference(cloud, count)


def test_start(kind):
    clouds = make_clouds(3, 60)
    got = farthest_point_indices(clouds, 20, np.array([5, 0, 59]))
    for row, cloud, start in zip(got, clouds, [5, 0, 59]):
        assert row.tolist() == reference(cloud, 20, start)


def test_layout_and_type_do_not_matter(kind):
    clouds = make_clouds(4, 50)
    expected = farthest_point_indices(clouds, 20)
    turned = np.asfortranarray(clouds).astype("float64")
    np.testing.assert_array_equal(
        farthest_point_indices(turned, 20), expected
    )
    np.testing.assert_array_equal(
        farthest_point_indices(clouds[::2], 20), expected[::2]
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
def test_wrong_sizes(kind, shape, count, start):
    with pytest.raises(ValueError, match="Received"):
        farthest_point_indices(np.zeros(shape), count, start)


def test_no_point_and_bad_numbers_end(kind):
    assert farthest_point_indices(np.zeros((0, 8, 3)), 4).shape == (0, 4)
    got = farthest_point_indices(np.full((1, 8, 3), np.nan), 4)
    assert ((0 <= got) & (got < 8)).all()
