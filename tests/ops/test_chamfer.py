import numpy as np
import pytest
from keras import ops as kops

from keras_pointpeft.ops.chamfer import chamfer_distance

from . import backends
from . import clouds


def truth(a, b, norm):
    there, back = [], []
    for x, y in zip(a.astype("float64"), b.astype("float64")):
        squared = ((x[:, None] - y[None]) ** 2).sum(axis=-1)
        there.append(squared.min(axis=1))
        back.append(squared.min(axis=0))
    if norm == "l2":
        return np.mean(there) + np.mean(back)
    return (np.sqrt(there).mean() + np.sqrt(back).mean()) / 2


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("kind", clouds.KINDS)
def test_equals_brute_force(kind, norm):
    a, b = clouds.make(kind, 3, 32), clouds.make(kind, 3, 24, seed=1)
    distance = chamfer_distance(a, b, norm)
    assert tuple(distance.shape) == ()
    assert np.isclose(float(distance), truth(a, b, norm), rtol=1e-5)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_gradients_equal_finite_differences(norm):
    a, b = clouds.make("uniform", 2, 6), clouds.make("uniform", 2, 5, seed=1)
    found = backends.gradients(lambda *x: chamfer_distance(*x, norm), a, b)
    expected = [
        backends.numeric_gradient(lambda x: truth(x, b, norm), a),
        backends.numeric_gradient(lambda x: truth(a, x, norm), b),
    ]
    for mine, theirs in zip(found, expected):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_equal_sets(norm):
    a = clouds.make("duplicates", 2, 20)
    assert float(chamfer_distance(a, a[:, ::-1].copy(), norm)) == 0.0
    for gradient in backends.gradients(
        lambda *x: chamfer_distance(*x, norm), a, a.copy()
    ):
        assert np.all(gradient == 0)


def test_is_float32_in_half_precision():
    a = clouds.make("uniform", 2, 20)
    half = kops.cast(a, "bfloat16")
    distance = chamfer_distance(half, a)
    assert "float32" in str(distance.dtype)


def test_compiled():
    points = clouds.make("uniform", 3, 30)
    forms = backends.compiled_forms(
        lambda p: chamfer_distance(p[:, :13], p[:, 13:], "l1")
    )
    expected = truth(points[:, :13], points[:, 13:], "l1")
    for name, function in forms:
        distance = function(kops.convert_to_tensor(points))
        assert np.isclose(float(distance), expected, rtol=1e-5), name


def test_unknown_norm():
    with pytest.raises(ValueError, match="norm.*Received"):
        chamfer_distance(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)), "l3")
