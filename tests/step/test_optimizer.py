import keras
import numpy as np
import pytest

from keras_pointpeft.training import decay_groups
from keras_pointpeft.training import make_optimizer


class Tokens(keras.layers.Layer):
    def build(self, input_shape):
        def weight(name, shape):
            self_weight = self.add_weight(
                shape=shape, initializer="ones", name=name
            )
            return self_weight

        self.token = weight("token", (1, 1, 4))
        self.position = weight("position", (1, 1, 4))
        self.prompts = weight("prompts", (2, 4))
        self.qkv_bias = weight("qkv_bias", (3, 4))
        self.gamma = weight("gamma", (4,))

    def call(self, x):
        return x * self.gamma + self.token[0] + self.position[0]


def build(layers):
    model = keras.Sequential(layers)
    model.build((None, 4))
    return model


def names(variables):
    return sorted(v.name for v in variables)


def test_groups():
    # The layer's own name must not count: "class_tokens/position" decays.
    model = build([Tokens(name="class_tokens"), keras.layers.Dense(3)])
    decayed, kept = decay_groups(model)
    assert names(decayed) == ["kernel", "position", "prompts"]
    assert names(kept) == ["bias", "gamma", "qkv_bias", "token"]


@pytest.mark.once
def test_frozen_variables_are_in_no_group():
    model = build([Tokens(), keras.layers.Dense(3)])
    model.layers[0].position.trainable = False
    decayed, kept = decay_groups(model)
    assert names(decayed) == ["kernel", "prompts"]
    assert len(decayed) + len(kept) == len(model.trainable_variables)


def test_first_step_is_that_of_adamw():
    """Against the update written out: decay, then lr * sign-like step."""
    model = build([keras.layers.Dense(3)])
    kernel, bias = model.trainable_variables
    before = keras.ops.convert_to_numpy(kernel).copy()
    optimizer = make_optimizer(model, 0.1, 0.5, clip_norm=None)
    gradient = np.full((4, 3), 2.0, "float32")
    optimizer.apply(
        [
            keras.ops.convert_to_tensor(gradient),
            keras.ops.zeros((3,)),
        ],
        [kernel, bias],
    )
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 2.0 / (2.0 + 1e-8)
    found = keras.ops.convert_to_numpy(kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(bias), 0.0)


def test_all_gradients_are_clipped_together():
    model = build([keras.layers.Dense(3)])
    optimizer = make_optimizer(model, clip_norm=10.0)
    assert optimizer.global_clipnorm == 10.0
    assert optimizer.clipnorm is None


def test_nothing_to_decay_trains_on():
    model = build([keras.layers.Dense(3)])
    model.layers[0].kernel.trainable = False
    optimizer = make_optimizer(model)
    assert optimizer.weight_decay is None
    model.compile(optimizer, loss="mse")
    x = np.ones((4, 4), "float32")
    model.fit(x, x[:, :3], verbose=0)
    assert np.any(keras.ops.convert_to_numpy(model.layers[0].bias) != 0)


def test_accumulation_makes_one_update_of_two_batches():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    y = x[:, :3] * 2
    results = []
    for batch_size, accumulation in ((8, 1), (4, 2)):
        keras.utils.set_random_seed(0)
        model = build([keras.layers.Dense(3)])
        optimizer = make_optimizer(
            model, 0.1, gradient_accumulation=accumulation
        )
        model.compile(optimizer, loss="mse")
        model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
        results.append(keras.ops.convert_to_numpy(model.layers[0].kernel))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.once
def test_errors():
    model = build([keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="gradient_accumulation=0"):
        make_optimizer(model, gradient_accumulation=0)
    model.trainable = False
    with pytest.raises(ValueError, match="no trainable variable"):
        make_optimizer(model)


@pytest.mark.parametrize("norm", [0.1, 1e3])
@pytest.mark.parametrize("decay", [None, 0.5])
def test_clipping_is_that_of_keras(norm, decay):
    model = build([keras.layers.Dense(3)])
    start = [v.numpy().copy() for v in model.trainable_variables]
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=v.shape).astype("float32") for v in start]
    name = "Adam" if decay is None else "AdamW"
    arguments = {} if decay is None else {"weight_decay": decay}
    keras_own = getattr(keras.optimizers, name)(
        0.1, global_clipnorm=norm, epsilon=1e-2, **arguments
    )
    if decay:
        keras_own.exclude_from_weight_decay(
            var_list=[model.trainable_variables[1]]
        )
    ours = make_optimizer(model, 0.1, decay, norm, epsilon=1e-2)
    assert isinstance(ours, type(keras_own))
    assert ours.global_clipnorm == norm

    def stepped(optimizer):
        for variable, value in zip(model.trainable_variables, start):
            variable.assign(value)
        for factor in (1.0, 3.0):
            optimizer.apply(
                [keras.ops.convert_to_tensor(factor * g) for g in gradients],
                model.trainable_variables,
            )
        return [v.numpy().copy() for v in model.trainable_variables]

    for a, b in zip(stepped(ours), stepped(keras_own), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    gradients[1][0] = np.nan
    for values in stepped(ours):
        assert np.isnan(values).all()
