import keras
import numpy as np
import pytest
from keras import ops

import keras_pointpeft
from keras_pointpeft import presets
from keras_pointpeft.models.frozen_stem import split
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.peft.point_peft import bank as prior_bank
from tests.conftest import METHODS
from tests.conftest import small_classifier
from tests.models.test_segmenters import BACKBONES
from tests.models.test_segmenters import make_parts

pytestmark = pytest.mark.once

ALL = [
    name.split("_")[0] for name in presets.list_presets("*_pointmaetiny_shapes")
]


def train_a_bit(model, inputs):
    """What an epoch may change: statistics, and all that trains."""
    model(inputs, training=True)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = 0.1 * rng.normal(size=tuple(variable.shape))
        variable.assign_add(noise.astype("float32"))


def check(model, inputs, kept_parts=None):
    """What was kept before training is as good as the clouds after it."""
    stem, rest = split(model)
    kept = stem.predict(inputs, verbose=0)
    if kept_parts is not None:
        assert kept_parts <= {name.rpartition("_")[0] for name in kept}
    train_a_bit(model, inputs)
    expected = ops.convert_to_numpy(model(inputs))
    found = ops.convert_to_numpy(rest(kept))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    ids = {id(v) for v in rest.trainable_variables}
    assert ids == {id(v) for v in model.trainable_variables}
    return kept


@pytest.mark.parametrize(
    "method, parts",
    [
        ("dapt", {"patch_encoder", "position"}),
        ("dapt_track", {"patches"}),
        ("full", {"patches"}),
        ("linear", {"token_pooling"}),
        ("pointpeft", {"patch_encoder", "tuner_geometry"}),
    ],
)
def test_what_is_kept_stays_true(method, parts, clouds):
    kept = check(small_classifier(METHODS[method]()), clouds[0], parts)
    if method == "dapt_track":
        assert not any("encoder" in name for name in kept)


def test_training_the_rest_is_training_the_task(clouds):
    points, labels = clouds
    trained = []
    for behind_stem in (False, True):
        keras.utils.set_random_seed(0)
        task = small_classifier(METHODS["dapt"]())
        model, inputs = task, points
        if behind_stem:
            stem, model = split(task)
            inputs = stem.predict(points, verbose=0)
        loss = task.default_loss()
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=None)
        keras.utils.set_random_seed(1)
        run = [model.train_on_batch(inputs, labels) for _ in range(3)]
        losses = [np.ravel(values)[0] for values in run]
        values = [ops.convert_to_numpy(v) for v in task.variables]
        trained.append([np.array(losses), *values])
    for found, expected in zip(*trained):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_of_linear_probing_one_feature_is_kept(clouds):
    kept = check(small_classifier(METHODS["linear"]()), clouds[0])
    assert [value.shape for value in kept.values()] == [(6, 48)]


def test_a_random_block_is_not_kept(clouds):
    model = small_classifier(METHODS["linear"](), drop_path_rate=0.2)
    kept = check(model, clouds[0])
    # The first block drops nothing.
    assert "block_0" in {name.rpartition("_")[0] for name in kept}
    assert "token_pooling" not in {name.rpartition("_")[0] for name in kept}


# The graph is cut alike on all backends, and eager calls take jax long.
KINDS = BACKBONES if keras.config.backend() == "torch" else BACKBONES[::5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ("dapt", "linear"))
def test_parts_on_the_backbones(kind, method):
    rng = np.random.default_rng(0)
    inputs = {
        "points": rng.normal(size=(3, 64, 3)).astype("float32"),
        "category": np.arange(3, dtype="int32"),
    }
    check(make_parts(kind, METHODS[method]()), inputs, {"points", "category"})


def test_functions_of_several_outputs_are_computed_again():
    class Task(keras.Model):
        backbone = None

    points = keras.Input((6, 4))
    frozen = keras.layers.Dense(4, name="frozen")
    x = frozen(points)
    frozen.trainable = False
    first, second = ops.split(x, 2, axis=1)
    y = keras.layers.Dense(2)(first) + keras.layers.Dense(2)(second)
    task = Task(points, y)
    stem, rest = split(task)
    assert list(stem.output) == ["frozen_0"]
    inputs = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
    found = rest.predict(stem.predict(inputs, verbose=0), verbose=0)
    np.testing.assert_allclose(
        found, task.predict(inputs, verbose=0), atol=1e-6
    )


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="17 models; one backend will do"
)
@pytest.mark.parametrize("method", ALL)
def test_every_method(method):
    model = keras_pointpeft.from_preset(
        f"{method}_pointmaetiny_shapes", load_weights=False
    )
    points = np.random.default_rng(0).normal(size=(2, 512, 3))
    points = points.astype("float32")
    if prior_bank.prior_layer(model.backbone) is not None:
        PriorBank.build(model, np.tile(points, (8, 1, 1))).attach(model)
    if method == "gaprompt":
        with pytest.raises(ValueError, match="nothing can be kept.*Received"):
            split(model)
    else:
        check(model, points)
