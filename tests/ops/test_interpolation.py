import numpy as np
import pytest
from keras import ops as kops

from keras_pointpeft import ops
from keras_pointpeft.ops.interpolation import plain_weighted_sum

from . import backends
from . import clouds


def truth(queries, points, values, k=3, epsilon=1e-8, power=2):
    """One sample, in float64; neighbours by float32 distances."""
    k = len(points) if k is None else k
    index = clouds.neighbors(
        queries.astype("float32"), points.astype("float32"), k
    )
    rows = []
    for query, near in zip(queries.astype("float64"), index):
        distance = np.sqrt(((query - points[near]) ** 2).sum(axis=-1))
        weights = 1 / (distance**power + epsilon)
        rows.append(weights @ values[near] / weights.sum())
    return np.stack(rows)


def example(kind="uniform", channels=7):
    points = clouds.make(kind, 2, 25)
    queries = clouds.make(kind, 2, 40, seed=1)
    queries[:, :5] = points[:, :5]  # coincident ones
    rng = np.random.default_rng(3)
    values = rng.normal(size=(2, 25, channels)).astype("float32")
    return queries, points, values


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("k", [1, 3, 8, None])
@pytest.mark.parametrize("kind", clouds.KINDS)
def test_equals_brute_force(kind, k, power):
    arrays = example(kind)
    result = ops.interpolate(*arrays, k=k, power=power)
    expected = [truth(*one, k=k, power=power) for one in zip(*arrays)]
    np.testing.assert_allclose(
        kops.convert_to_numpy(result), expected, rtol=2e-5, atol=2e-5
    )


@pytest.mark.parametrize("k", [3, None])
def test_gradients_equal_finite_differences(k):
    queries, points, values = (a[:1, :8] for a in example(channels=2))
    queries = queries + np.float32(0.1)
    found = backends.gradients(
        lambda *a: kops.sum(ops.interpolate(*a, k=k) ** 2),
        queries,
        points,
        values,
    )
    arrays = [queries, points, values]
    for position in range(3):

        def loss(moved):
            given = [a.astype("float64") for a in arrays]
            given[position] = moved
            return (truth(*(a[0] for a in given), k=k) ** 2).sum()

        expected = backends.numeric_gradient(loss, arrays[position])
        np.testing.assert_allclose(
            found[position],
            expected,
            atol=1e-3 * np.abs(expected).max(),
        )


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("k", [3, None])
def test_gradients_are_finite_where_points_coincide(k, power):
    arrays = example("duplicates")
    found = backends.gradients(
        lambda *a: kops.sum(ops.interpolate(*a, k=k, power=power)), *arrays
    )
    assert all(np.isfinite(gradient).all() for gradient in found)


def test_fast_paths_equal_the_plain_sum():
    queries, points, values = example()
    index = ops.knn(queries, points, 3)
    squared = kops.sum(
        (
            kops.convert_to_tensor(queries)[:, :, None]
            - ops.gather(points, index)
        )
        ** 2,
        axis=-1,
    )
    weights = 1.0 / (squared + 1e-8)
    weights = weights / kops.sum(weights, axis=-1, keepdims=True)
    plain = plain_weighted_sum(kops.convert_to_tensor(values), index, weights)
    np.testing.assert_allclose(
        kops.convert_to_numpy(ops.interpolate(queries, points, values)),
        kops.convert_to_numpy(plain),
        atol=1e-6,
    )


def test_result_has_the_dtype_of_the_values_and_is_computed_in_float32():
    queries, points, values = example()
    half = kops.cast(values, "bfloat16")
    for k in (3, None):
        result = ops.interpolate(queries, points, half, k=k)
        assert result.dtype == half.dtype
        single = ops.interpolate(
            queries, points, kops.cast(half, "float32"), k=k
        )
        np.testing.assert_array_equal(
            kops.convert_to_numpy(kops.cast(result, "float32")),
            kops.convert_to_numpy(
                kops.cast(kops.cast(single, "bfloat16"), "float32")
            ),
        )


@pytest.mark.parametrize("k", [3, None])
def test_compiled(k):
    points = clouds.make("uniform", 3, 30)
    forms = backends.compiled_forms(
        lambda p: ops.interpolate(p, p[:, 10:20], p[:, 10:20], k=k)
    )
    expected = [truth(p, p[10:20], p[10:20], k=k) for p in points]
    for name, function in forms:
        result = function(kops.convert_to_tensor(points))
        np.testing.assert_allclose(
            kops.convert_to_numpy(result),
            expected,
            atol=2e-5,
            err_msg=name,
        )


def test_wrong_arguments():
    queries, points, values = example()
    with pytest.raises(ValueError, match="`k`.*Received"):
        ops.interpolate(queries, points, values, k=26)
    with pytest.raises(ValueError, match="`power`.*Received"):
        ops.interpolate(queries, points, values, power=3)
