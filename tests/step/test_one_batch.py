"""A prediction of one batch does, gives and shows what Keras' loop does."""

import re

import keras
import numpy as np
import pytest

from keras_pointpeft import models

from ..small import METHODS
from ..small import small_backbone
from ..small import small_classifier


@pytest.fixture(scope="module")
def model():
    return small_classifier(METHODS["dapt"]())


@pytest.fixture
def loops(monkeypatch):
    """What Keras' loop was given, whenever it ran."""
    seen, loop = [], keras.Model.predict

    def predict(self, x, **settings):
        seen.append(settings)
        return loop(self, x, **settings)

    monkeypatch.setattr(keras.Model, "predict", predict)
    return seen


@pytest.mark.parametrize("count", (1, 6))
def test_what_it_gives(model, clouds, loops, count):
    points = clouds[0][:count]
    for _ in range(5):  # on torch, kept by then
        found = model.predict(points, verbose=0)
    assert not loops
    expected = keras.Model.predict(model, points, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # It is the caller's, to be changed, and no later call changes it.
    found += 1.0
    model.predict(points * 0.5, verbose=0)
    np.testing.assert_allclose(found, expected + 1.0, atol=1e-6)
    again = model.predict(points, verbose=0)
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_several_inputs(clouds, loops):
    parts = models.PartSegmenter(
        small_backbone(),
        num_classes=3,
        num_categories=2,
        category_parts=((0, 1), (0, 1, 2)),
        propagation_dims=(8, 8),
        head_dims=(8,),
    )
    x = {"points": clouds[0], "category": np.arange(6) % 2}
    found = parts.predict(x, verbose=0)
    assert not loops
    expected = parts.predict(x, batch_size=3, verbose=0)
    assert len(loops) == 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_who_gets_the_loop(model, clouds, loops):
    points = clouds[0]
    expected = model.predict(points, verbose=0)
    ended = []
    watch = keras.callbacks.LambdaCallback(on_predict_end=ended.append)
    for settings in (
        {"batch_size": 2},
        {"steps": 1, "batch_size": 6},
        {"callbacks": [watch]},
    ):
        before = len(loops)
        found = model.predict(points, verbose=0, **settings)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert len(loops) == before + 1
    assert len(ended) == 1
    tensor = keras.ops.convert_to_tensor(points)
    batches = ((points[i : i + 3],) for i in (0, 3))
    for given in (tensor, batches):
        found = model.predict(given, verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(loops) == 5
    with pytest.raises(TypeError, match="batchsize"):
        model.predict(points, batchsize=6)
    found = model.predict(points, batch_size=6, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(loops) == 6  # the one that refused


@pytest.mark.parametrize("verbose", ("auto", 0, 1, 2))
def test_what_it_shows(model, clouds, capsys, verbose):
    def shown(predict):
        capsys.readouterr()
        predict(clouds[0], verbose=verbose)
        text = re.sub(r"\d+(us|ms|s)\b", "TIME", capsys.readouterr().out)
        # How far it goes back depends on how wide the time was.
        return re.sub("[\b\r ]+", " ", text)

    model.predict(clouds[0], verbose=0)
    keras.Model.predict(model, clouds[0], verbose=0)
    ours = shown(model.predict)
    theirs = shown(lambda x, **k: keras.Model.predict(model, x, **k))
    assert ours == theirs
    assert ("1/1" in ours) == (verbose != 0)
