"""An update for each cloud, which nothing is left of."""

import keras
import numpy as np
import pytest

from keras_pointpeft import peft
from keras_pointpeft import training
from tests.conftest import small_classifier


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = small_classifier(peft.LoTT(4))
    rng = np.random.default_rng(0)
    for variable in model.backbone.trainable_variables:
        variable.assign(0.1 * rng.normal(size=variable.shape))
    return model


def weights(model):
    return [np.array(v.numpy()) for v in model.weights]


def same(ours, theirs):
    return all(map(np.array_equal, ours, theirs))


def test_a_cloud_is_updated_for_and_nothing_stays(model, clouds):
    points, _ = clouds
    before = weights(model)
    plain = model.predict(points, verbose=0)
    update = training.TestTimeUpdate(model, 0.25, learning_rate=1e-2)
    found = update.predict(points[:3])
    assert same(weights(model), before)
    assert np.abs(found - plain[:3]).max() > 1e-3
    # Whatever was predicted before, and however often.
    again = update.predict(points[2:3])
    np.testing.assert_allclose(again, found[2:3], atol=1e-6)
    np.testing.assert_array_equal(model.predict(points, verbose=0), plain)


@pytest.mark.once
def test_updates_add_up_if_asked_and_bring_the_view_closer(model, clouds):
    points, _ = clouds
    model = model.clone()
    before = weights(model)
    update = training.TestTimeUpdate(
        model, 0.5, learning_rate=1e-3, updates=5, reset=False
    )
    learner = update._learner
    cloud, keep = points[:1], np.array([[0, 3, 4, 6]], "int32")

    def apart():
        found = learner((cloud, keep))
        return keras.ops.convert_to_numpy(found).mean()

    first = apart()
    for _ in range(5):
        learner.train_on_batch((cloud, keep))
    assert apart() < first
    update.predict(cloud)
    assert not same(weights(model), before)


@pytest.mark.once
def test_an_error_leaves_nothing_behind_either(model, clouds, monkeypatch):
    before = weights(model)

    def fails(points):
        raise RuntimeError("no memory")

    monkeypatch.setattr(model, "predict_on_batch", fails)
    with pytest.raises(RuntimeError, match="no memory"):
        training.TestTimeUpdate(model).predict(clouds[0])
    assert same(weights(model), before)


@pytest.mark.once
def test_it_wants_a_method_with_views(clouds):
    with pytest.raises(ValueError, match="peft.LoTT.*Received: .*LoRA"):
        training.TestTimeUpdate(small_classifier(peft.LoRA(4)))
    model = small_classifier(peft.LoTT(4))
    for arguments in ({"masked": 0.0}, {"updates": 0}):
        with pytest.raises(ValueError, match="Received: "):
            training.TestTimeUpdate(model, **arguments)
    with pytest.raises(ValueError, match="no clouds"):
        training.TestTimeUpdate(model).predict(clouds[0][:0])
