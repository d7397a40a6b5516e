"""Norms: of the channels of a token, and of a channel over a batch."""

import keras
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.arithmetic import layer_norm
from keras_pointpeft.ops.replicas import mean_and_count
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class LayerNormalization(Piece, keras.layers.LayerNormalization):
    """A `keras.layers.LayerNormalization` of the last axis, for tokens.

    [Layer normalization](https://arxiv.org/abs/1607.06450), into which a scale
    and a shift that follow it can be folded. The class keeps the name of
    Keras' own, because weight files name unnamed layers after their class.

    Args:
        epsilon: float. Added to the variance.
        **kwargs: further arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Example:
    ```python
    norm = keras_pointpeft.layers.LayerNormalization()
    tokens = norm(np.random.rand(2, 32, 96))
    ```
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs, affine=None):
        """Normalizes.

        Args:
            inputs: tensor.
            affine: optional pair of a scale, which may be None, and a shift,
                each `(dim,)`: what comes after the norm, and costs nothing
                within it.
        """
        scale, shift = self.gamma.value, self.beta.value
        if affine is not None and affine[0] is not None:
            fast = accelerators.find("layer_norm_affine")
            outputs = fast and fast(inputs, scale, shift, self.epsilon, *affine)
            if outputs is not None:
                return outputs
        if affine is not None:
            factor, offset = (
                None if x is None else ops.cast(x, scale.dtype) for x in affine
            )
            if factor is not None:
                scale, shift = scale * factor, shift * factor
            shift = shift + offset
        outputs = layer_norm(inputs, scale, shift, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)


# The share of the moving statistics that an update keeps. PyTorch calls the
# rest its momentum.
MOMENTUM = 0.9


@serializable
class BatchNorm(Configurable, keras.layers.Layer):
    """Batch normalization over all axes but the last, as PyTorch does it.

    It differs from `keras.layers.BatchNormalization` in what the published
    models rely on: the moving variance is the *unbiased* one, and freezing
    `gamma` and `beta` does not stop the statistics. Whether a call uses (and
    updates) batch statistics is decided by `training` alone. Statistics are
    computed in float32 whatever the dtype policy. In data-parallel training
    they are those of the whole batch, of all replicas together.

    Args:
        epsilon: float. Added to the variance.
        frozen_statistics: bool. Whether to use the moving statistics in
            training too, and leave them as they are.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        As the input's.

    Example:
    ```python
    norm = keras_pointpeft.layers.BatchNorm()
    x = np.random.rand(4, 16, 32)
    y = norm(x, training=True)  # of mean 0 and variance 1 in each channel
    ```
    """

    removed = {"momentum": MOMENTUM}

    def __init__(self, epsilon=1e-5, frozen_statistics=False, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.frozen_statistics = frozen_statistics

    def build(self, input_shape):
        shape = (input_shape[-1],)

        def weight(name, initializer, trainable):
            return self.add_weight(
                shape=shape,
                initializer=initializer,
                trainable=trainable,
                autocast=False,
                dtype="float32",
                name=name,
            )

        self.gamma = weight("gamma", "ones", True)
        self.beta = weight("beta", "zeros", True)
        self.moving_mean = weight("moving_mean", "zeros", False)
        self.moving_variance = weight("moving_variance", "ones", False)

    def call(self, inputs, training=False):
        x = ops.cast(inputs, "float32")
        if training and not self.frozen_statistics:
            axes = tuple(range(len(x.shape) - 1))
            mean, replicas = mean_and_count(ops.mean(x, axis=axes))
            centered = x - mean
            variance = ops.mean(centered * centered, axis=axes)
            variance, _ = mean_and_count(variance)
            self._track(mean, variance, ops.size(x) // x.shape[-1] * replicas)
        else:
            centered, variance = x - self.moving_mean, self.moving_variance
        scale = self.gamma / ops.sqrt(variance + self.epsilon)
        y = centered * scale + self.beta
        return ops.cast(y, self.compute_dtype)

    def scale_and_shift(self):
        """Two tensors `(dim,)`: what the moving statistics amount to."""
        scale = self.gamma / ops.sqrt(self.moving_variance + self.epsilon)
        return scale, self.beta - self.moving_mean * scale

    def _track(self, mean, variance, count):
        count = ops.cast(count, "float32")
        unbiased = variance * (count / ops.maximum(count - 1.0, 1.0))
        self.moving_mean.assign(
            self.moving_mean * MOMENTUM
            + ops.stop_gradient(mean) * (1.0 - MOMENTUM)
        )
        self.moving_variance.assign(
            self.moving_variance * MOMENTUM
            + ops.stop_gradient(unbiased) * (1.0 - MOMENTUM)
        )

    def compute_output_shape(self, input_shape):
        return input_shape
