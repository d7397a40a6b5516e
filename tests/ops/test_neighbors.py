import numpy as np
import pytest
from keras import ops as kops

from keras_pointpeft import ops

from . import backends
from . import clouds


def to_numpy(x):
    return kops.convert_to_numpy(x)


@pytest.mark.parametrize("kind", clouds.KINDS)
def test_squared_distances_are_exact(kind):
    a, b = clouds.make(kind, 2, 20), clouds.make(kind, 2, 33, seed=1)
    expected = np.stack([clouds.distances(*pair) for pair in zip(a, b)])
    np.testing.assert_array_equal(
        to_numpy(ops.squared_distances(a, b)), expected
    )


def test_squared_distances_gradient():
    a, b = clouds.make("uniform", 2, 4), clouds.make("uniform", 2, 5, seed=1)
    found = backends.gradients(
        lambda x, y: kops.sum(ops.squared_distances(x, y)), a, b
    )
    expected = 2 * (a[:, :, None] - b[:, None])
    np.testing.assert_allclose(found[0], expected.sum(2), rtol=1e-4)
    np.testing.assert_allclose(found[1], -expected.sum(1), rtol=1e-4)


@pytest.mark.parametrize("kind", clouds.KINDS)
@pytest.mark.parametrize("k", [1, 16, 150])
def test_knn_equals_a_stable_sort(kind, k):
    points = clouds.make(kind, 3, 150)
    queries = points[:, 20:60]
    index = ops.knn(queries, points, k)
    expected = [clouds.neighbors(q, p, k) for q, p in zip(queries, points)]
    np.testing.assert_array_equal(to_numpy(index), expected)
    assert "int32" in str(index.dtype)


@pytest.mark.parametrize("kind", ["lattice", "duplicates"])
def test_knn_of_a_realistic_size(kind):
    # More pairs than are worked on at a time.
    points = clouds.make(kind, 3, 2048)
    index = ops.knn(points[:, :128], points, 32)
    expected = [clouds.neighbors(p[:128], p, 32) for p in points]
    np.testing.assert_array_equal(to_numpy(index), expected)


def test_knn_finds_the_point_itself_far_from_the_origin():
    points = clouds.make("far_away", 2, 500)
    index = to_numpy(ops.knn(points, points, 1))[..., 0]
    np.testing.assert_array_equal(index, np.tile(np.arange(500), (2, 1)))


def test_knn_compiled():
    points = clouds.make("lattice", 3, 100)
    forms = backends.compiled_forms(lambda p: ops.knn(p[:, :9], p, 8))
    for name, function in forms:
        for batch in (3, 2):
            tensor = kops.convert_to_tensor(points[:batch])
            expected = [clouds.neighbors(p[:9], p, 8) for p in points[:batch]]
            np.testing.assert_array_equal(
                to_numpy(function(tensor)), expected, err_msg=name
            )


def test_knn_small_inputs():
    one = clouds.make("uniform", 2, 1)
    assert to_numpy(ops.knn(one, one, 1)).tolist() == [[[0]], [[0]]]
    none = np.zeros((0, 9, 3), "float32")
    assert tuple(ops.knn(none, none, 4).shape) == (0, 9, 4)


@pytest.mark.parametrize("k", [0, 11])
def test_knn_with_a_wrong_k(k):
    points = np.zeros((2, 10, 3), "float32")
    with pytest.raises(ValueError, match="`k`.*Received"):
        ops.knn(points, points, k)


def ball(queries, points, radius, k):
    limit = np.float32(radius) * np.float32(radius)
    rows = []
    for row in clouds.distances(queries, points):
        hits = list(np.flatnonzero(row < limit)[:k])
        rows.append((hits + [hits[0] if hits else 0] * k)[:k])
    return rows


@pytest.mark.parametrize("k", [1, 8, 90])
@pytest.mark.parametrize("radius", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("kind", ["uniform", "lattice", "duplicates"])
def test_ball_query(kind, radius, k):
    points = clouds.make(kind, 2, 70)
    queries = clouds.make(kind, 2, 12, seed=1)
    index = to_numpy(ops.ball_query(queries, points, radius, k))
    expected = [ball(q, p, radius, k) for q, p in zip(queries, points)]
    np.testing.assert_array_equal(index, expected)


def test_ball_query_compiled():
    points = clouds.make("uniform", 3, 40)
    forms = backends.compiled_forms(
        lambda p: ops.ball_query(p[:, :9], p, 0.5, 50)
    )
    expected = [ball(p[:9], p, 0.5, 50) for p in points]
    for name, function in forms:
        index = to_numpy(function(kops.convert_to_tensor(points)))
        np.testing.assert_array_equal(index, expected, err_msg=name)


def test_ball_query_with_wrong_arguments():
    points = np.zeros((2, 10, 3), "float32")
    for radius, k in ((0.0, 3), (-1.0, 3), (float("nan"), 3), (1.0, 0)):
        with pytest.raises(ValueError, match="Received"):
            ops.ball_query(points, points, radius, k)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bfloat16"])
@pytest.mark.parametrize("shape", [(6,), (6, 4), (2, 3, 4)])
def test_gather(shape, dtype):
    rng = np.random.default_rng(0)
    values = kops.cast(rng.integers(0, 200, (3, 11, 5)), dtype)
    index = rng.integers(0, 11, (3, *shape))
    for given in (index, kops.convert_to_tensor(index.astype("int32"))):
        rows = ops.gather(values, given)
        assert rows.dtype == values.dtype
        table = to_numpy(kops.cast(values, "int32"))
        expected = np.stack([v[i] for v, i in zip(table, index)])
        np.testing.assert_array_equal(
            to_numpy(kops.cast(rows, "int32")), expected
        )


def test_gather_gradient_adds_up():
    values = clouds.make("uniform", 2, 5)
    index = np.array([[0, 0, 3], [1, 2, 2]])
    (gradient,) = backends.gradients(
        lambda v: kops.sum(ops.gather(v, index)), values
    )
    expected = [[2, 0, 0, 1, 0], [0, 1, 2, 0, 0]]
    np.testing.assert_allclose(gradient[..., 0], expected)


def test_gather_of_an_empty_batch():
    rows = ops.gather(np.zeros((0, 5, 3), "float32"), np.zeros((0, 4), int))
    assert tuple(rows.shape) == (0, 4, 3)


def test_gather_with_wrong_shapes():
    with pytest.raises(ValueError, match="Received"):
        ops.gather(np.zeros((5, 3)), np.zeros((5, 2), int))
    with pytest.raises(ValueError, match="Received"):
        ops.gather(np.zeros((2, 5, 3)), np.zeros((2,), int))


@pytest.mark.parametrize("kind", clouds.KINDS)
def test_group_is_knn_and_gather(kind):
    points = clouds.make(kind, 2, 60)
    centers = clouds.make(kind, 2, 7, seed=1)
    neighbors, offsets = ops.group(points, centers, 5)
    expected = [clouds.neighbors(c, p, 5) for c, p in zip(centers, points)]
    np.testing.assert_array_equal(to_numpy(neighbors), expected)
    moved = [p[i] - c[:, None] for p, i, c in zip(points, expected, centers)]
    np.testing.assert_array_equal(to_numpy(offsets), moved)
    assert "int32" in str(neighbors.dtype) and "float32" in str(offsets.dtype)


def test_group_gradients():
    points = clouds.make("uniform", 2, 6)
    centers = clouds.make("uniform", 2, 3, seed=1)
    to_points, to_centers = backends.gradients(
        lambda p, c: kops.sum(ops.group(p, c, 6)[1]), points, centers
    )
    # Every point is a neighbour of every centre.
    np.testing.assert_allclose(to_points, np.full((2, 6, 3), 3.0))
    np.testing.assert_allclose(to_centers, np.full((2, 3, 3), -6.0))


def test_group_with_wrong_arguments():
    points = np.zeros((2, 10, 3), "float32")
    with pytest.raises(ValueError, match="`k`.*Received"):
        ops.group(points, points, 11)
    with pytest.raises(ValueError, match="`centers`.*Received"):
        ops.group(points, points[..., :2], 3)
