import keras
import numpy as np
import pytest
from keras import ops as kops

from keras_pointpeft import ops
from keras_pointpeft.ops.accelerators import host
from keras_pointpeft.ops.neighbors import published_order
from keras_pointpeft.ops.plain import plain_sample

from . import backends
from . import clouds


def sampled(*args, **kwargs):
    index = ops.farthest_point_sample(*args, **kwargs)
    assert keras.backend.standardize_dtype(index.dtype) == "int32"
    return kops.convert_to_numpy(index)


def truth(points, *args, **kwargs):
    return np.stack([clouds.sample(p, *args, **kwargs) for p in points])


@pytest.mark.parametrize("skip_origin", [False, True])
@pytest.mark.parametrize("kind", clouds.KINDS)
def test_equals_the_definition(kind, skip_origin):
    for count, num_samples in ((200, 60), (129, 129)):
        points = clouds.make(kind, 3, count)
        expected = truth(points, num_samples, skip_origin)
        index = sampled(points, num_samples, skip_origin)
        np.testing.assert_array_equal(index, expected)


@pytest.mark.parametrize("kind", ["lattice", "duplicates", "symmetric"])
@pytest.mark.parametrize("count", [7, 64, 100, 700])
def test_published_ties_follow_the_tree_reduction(kind, count):
    points = clouds.make(kind, 2, count)
    threads = 2 ** min(9, int(np.log2(count)))
    width = int(np.log2(threads))
    reverse = [
        int(format(k % threads, f"0{width}b")[::-1], 2) for k in range(count)
    ]
    rank = np.array([r * count + k for k, r in enumerate(reverse)])
    number = min(count, 40)
    for skip_origin in (False, True):
        index = sampled(points, number, skip_origin, ties="published")
        expected = truth(points, number, skip_origin, rank=rank)
        np.testing.assert_array_equal(index, expected)


def test_published_order_of_one_point():
    assert published_order(1).tolist() == [0]


def test_a_realistic_size():
    points = clouds.make("lattice", 4, 2048)
    np.testing.assert_array_equal(sampled(points, 128), truth(points, 128))


@pytest.mark.parametrize("skip_origin", [False, True])
@pytest.mark.parametrize("kind", clouds.KINDS)
def test_fast_paths_equal_the_plain_loop(kind, skip_origin):
    points = clouds.make(kind, 5, 300, seed=1)
    plain = kops.convert_to_numpy(
        plain_sample(kops.convert_to_tensor(points), 80, skip_origin)
    )
    np.testing.assert_array_equal(sampled(points, 80, skip_origin), plain)
    fast = host.farthest_point_sample(points, 80, skip_origin)
    np.testing.assert_array_equal(fast, plain)


@pytest.mark.parametrize("kind", clouds.KINDS)
def test_numba_equals_numpy(kind):
    pytest.importorskip("numba")
    planes = np.ascontiguousarray(
        clouds.make(kind, 5, 300, seed=2).transpose(2, 0, 1)
    )
    results = []
    for loop in (host.batched, host.numba_loops().farthest_points):
        nearest = np.full((5, 300), 1e10, "float32")
        nearest[:, ::7] = -1.0
        chosen = np.zeros((5, 90), "int32")
        loop(planes, nearest, chosen)
        results.append(chosen)
    np.testing.assert_array_equal(*results)


def test_works_without_numba(monkeypatch):
    points = clouds.make("uniform", 2, 100)
    expected = truth(points, 20)
    monkeypatch.setattr(host, "numba_loops", lambda: None)
    index = host.farthest_point_sample(points, 20, False)
    np.testing.assert_array_equal(index, expected)


def test_the_skip_radius_compares_as_the_kernel_does():
    # The float32 nearest to 0.001 is larger than 0.001: it is a candidate.
    limit = np.float32(1e-3)
    below = np.nextafter(limit, np.float32(0))
    x = np.linspace(0.001, 0.03, 4001).astype("float32")
    for norm, candidate in ((limit, 1), (below, 0)):
        y = np.sqrt(norm - x * x)
        exact = np.flatnonzero(x * x + y * y == norm)[:4]
        points = np.zeros((1, 5, 3), "float32")
        points[0, 0, 0] = 0.2
        points[0, 1:, 0], points[0, 1:, 1] = x[exact], y[exact]
        index = sampled(points, 5, skip_origin=True)
        assert index.any() == candidate


def test_all_inside_the_skip_radius():
    points = clouds.make("uniform", 2, 20) * 0.01
    assert not sampled(points, 5, skip_origin=True).any()


def test_exhausted_candidates_repeat_the_lowest():
    points = np.zeros((1, 6, 3), "float32")
    points[0, 2:] = (1.0, 0.0, 0.0)
    index = sampled(points, 6)
    assert index.tolist() == [[0, 2, 0, 0, 0, 0]]
    index = sampled(points, 6, skip_origin=True)
    assert index.tolist() == [[0, 2, 2, 2, 2, 2]]


def test_small_inputs():
    one = clouds.make("uniform", 3, 1)
    assert sampled(one, 1).tolist() == [[0]] * 3
    assert sampled(np.zeros((0, 50, 3), "float32"), 8).shape == (0, 8)


def test_input_types():
    points = clouds.make("uniform", 2, 60)
    expected = truth(points, 20)
    np.testing.assert_array_equal(
        sampled(points.astype("float64"), 20), expected
    )
    tensor = kops.convert_to_tensor(points)
    np.testing.assert_array_equal(sampled(tensor, 20), expected)
    # Not contiguous.
    wide = kops.convert_to_tensor(np.concatenate((points, points), axis=-1))
    np.testing.assert_array_equal(sampled(wide[..., 3:], 20), expected)
    half = kops.cast(points, "bfloat16")
    rounded = kops.convert_to_numpy(kops.cast(half, "float32"))
    np.testing.assert_array_equal(sampled(half, 20), truth(rounded, 20))


def test_compiled():
    points = clouds.make("lattice", 3, 100)
    forms = backends.compiled_forms(
        lambda p: ops.farthest_point_sample(p, 16, skip_origin=True)
    )
    for name, function in forms:
        for batch in (3, 2):
            tensor = kops.convert_to_tensor(points[:batch])
            index = kops.convert_to_numpy(function(tensor))
            expected = truth(points[:batch], 16, skip_origin=True)
            np.testing.assert_array_equal(index, expected, err_msg=name)


def test_gradient_goes_through_gathered_coordinates_only():
    points = clouds.make("uniform", 2, 30)

    def function(p):
        return kops.sum(ops.gather(p, ops.farthest_point_sample(p, 7)) ** 2)

    (gradient,) = backends.gradients(function, points)
    expected = np.zeros_like(points)
    for b, index in enumerate(truth(points, 7)):
        expected[b, index] = 2 * points[b, index]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize("num_samples", [0, -1, 11])
def test_wrong_number_of_samples(num_samples):
    with pytest.raises(ValueError, match="num_samples.*Received"):
        ops.farthest_point_sample(np.zeros((2, 10, 3)), num_samples)


def test_wrong_shape_and_ties():
    with pytest.raises(ValueError, match="shape.*Received"):
        ops.farthest_point_sample(np.zeros((10, 3)), 2)
    with pytest.raises(ValueError, match="shape.*Received"):
        ops.farthest_point_sample(np.zeros((2, 10, 4)), 2)
    with pytest.raises(ValueError, match="ties.*Received"):
        ops.farthest_point_sample(np.zeros((2, 10, 3)), 2, ties="random")
