"""What holds for any cloud, also for those that nobody would want.

Shapes are few, so that a backend compiles few programs; values are many.
"""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from keras.ops import convert_to_numpy

from keras_pointpeft import ops
from keras_pointpeft.peft import DAPT
from tests.conftest import small_classifier

# Clouds of equal points, on a line, far out, tiny, of few places, of two
# places, and so far out that squares overflow.
KINDS = ("normal", "equal", "line", "far", "tiny", "grid", "two", "huge")
DTYPES = ("float16", "float32", "float64")
POINTS, CLASSES = 24, 3
COMMON = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


def cloud(kind, seed, dtype="float64", batch=2):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(batch, POINTS, 3))
    if kind == "equal":
        points[:] = points[:, :1]
    elif kind == "line":
        points[..., 1:] = 0
    elif kind == "far":
        points = points * 10 + 100
    elif kind == "tiny":
        points = points * 1e-3
    elif kind == "grid":
        points = rng.integers(0, 2, points.shape).astype("float64")
    elif kind == "two":
        points[:] = points[:, rng.integers(0, 2, POINTS)]
    elif kind == "huge":
        points = points * (1e4 if dtype == "float16" else 1e25)
    return points.astype(dtype)


kinds, dtypes = st.sampled_from(KINDS), st.sampled_from(DTYPES)
# What a model takes: its clouds are about as large as the unit sphere.
FAR = ("far", "huge")
near = st.sampled_from([kind for kind in KINDS if kind not in FAR])
seeds = st.integers(0, 5)


@settings(max_examples=25, **COMMON)
@given(kind=kinds, dtype=dtypes, seed=seeds)
def test_sampling_and_neighbours(kind, dtype, seed):
    points = cloud(kind, seed, dtype)
    chosen = convert_to_numpy(ops.farthest_point_sample(points, 8))
    near = convert_to_numpy(ops.knn(points, points, 4))
    within = convert_to_numpy(ops.ball_query(points, points, 0.5, 4))
    for index in (chosen, near, within):
        assert index.dtype == np.int32
        assert index.min() >= 0 and index.max() < POINTS
    if kind == "huge":
        return  # distances are infinite; the rest has no meaning
    # Distances of what is nearest do not fall, and are the smallest.
    x = points.astype("float32")
    squared = ((x[:, :, None] - x[:, None]) ** 2).sum(-1)
    found = np.take_along_axis(squared, near, axis=-1)
    assert (np.diff(found, axis=-1) >= 0).all()
    np.testing.assert_array_equal(found, np.sort(squared, axis=-1)[..., :4])
    # No point is chosen twice while another is left.
    for row, own in zip(x, chosen):
        distinct = len(np.unique(row, axis=0))
        assert len(np.unique(own)) >= min(distinct, 8)
    # What a ball returns is inside of it.
    found = np.take_along_axis(squared, within, axis=-1)
    assert (found < 0.25).all()


@settings(max_examples=15, **COMMON)
@given(kind=kinds, seed=seeds)
def test_interpolation_stays_within_the_values(kind, seed):
    points = cloud(kind, seed, "float32")
    values = np.random.default_rng(seed).normal(size=(2, POINTS, 4))
    values = values.astype("float32")
    queries = points[:, ::3] * 0.9
    found = convert_to_numpy(ops.interpolate(queries, points, values))
    assert found.shape == (2, 8, 4)
    if kind != "huge":
        assert (found <= values.max(axis=1, keepdims=True) + 1e-5).all()
        assert (found >= values.min(axis=1, keepdims=True) - 1e-5).all()


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    return small_classifier(DAPT(rank=4))


@settings(max_examples=20, **COMMON)
@given(kinds=st.tuples(near, near), dtype=dtypes, seed=seeds)
def test_logits(classifier, kinds, dtype, seed):
    """Finite, of one shape, and no matter what else is in the batch."""
    first, second = (cloud(kind, seed, dtype, batch=1) for kind in kinds)
    both = np.concatenate([first, second])
    logits = classifier.predict(both, verbose=0)
    assert logits.shape == (2, CLASSES) and logits.dtype == np.float32
    for kind, row in zip(kinds, logits):
        assert np.isfinite(row).all(), kind
    swapped = classifier.predict(both[::-1].copy(), verbose=0)
    np.testing.assert_allclose(
        logits, swapped[::-1], rtol=1e-4, atol=1e-5, equal_nan=True
    )
    # The values decide, not the dtype that they come in.
    again = classifier.predict(both.astype("float32"), verbose=0)
    np.testing.assert_allclose(
        logits, again, rtol=1e-4, atol=1e-5, equal_nan=True
    )


@pytest.mark.parametrize("kind", FAR)
def test_what_is_far_out_is_refused(classifier, kind):
    both = np.concatenate([cloud("normal", 0), cloud(kind, 0)])
    with pytest.raises(ValueError, match="unit"):
        classifier.predict(both, verbose=0)


@settings(max_examples=10, **COMMON)
@given(
    place=st.tuples(st.integers(0, 1), st.integers(0, POINTS - 1)),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
    dtype=dtypes,
)
def test_what_is_not_finite_is_refused(classifier, place, value, dtype):
    points = cloud("normal", 0, dtype)
    points[place] = value
    for use in (classifier.predict, classifier.fit):
        with pytest.raises(ValueError, match=f"clouds number {place[0]}"):
            use(points, **({} if use == classifier.predict else LABELS))


LABELS = {"y": np.zeros(2, "int32")}


@pytest.mark.parametrize(
    "shape", [(2, 4, 3), (2, 0, 3), (2, 24, 2), (24, 3), (2, 24, 3, 1)]
)
def test_shapes_that_do_not_fit_are_refused(classifier, shape):
    with pytest.raises(ValueError):
        classifier.predict(np.zeros(shape, "float32"), verbose=0)
