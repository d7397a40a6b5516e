"""Linear layers, norms and dropout, as PyTorch has them."""

import math

import keras
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.arithmetic import add_scaled
from keras_pointpeft.ops.arithmetic import batch_norm
from keras_pointpeft.ops.arithmetic import layer_norm
from keras_pointpeft.ops.arithmetic import linear
from keras_pointpeft.ops.plain import SHUT
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def part_call(part, *inputs, **kwargs):
    """Calls a layer that is a part of the calling one.

    Keras' own call of a layer binds arguments, looks for masks, casts inputs
    and opens scopes, all of which the outer layer's call has done. Twelve
    blocks of a dozen parts spend more time on that than small tensors need
    for the arithmetic. Parts with another policy than float32 may have to
    cast, or be quantized; these, and what is not built yet, Keras calls.

    Args:
        part: `keras.layers.Layer`.
        *inputs: tensors.
        **kwargs: further arguments. `training` is not found out from the
            call around this one, and must be among them where it matters.

    Returns:
        What the layer returns.
    """
    if part.built and part.dtype_policy.name == "float32":
        return part.call(*inputs, **kwargs)
    return part(*inputs, **kwargs)


@serializable
class Linear(Piece, keras.layers.Dense):
    """A `keras.layers.Dense` that starts as PyTorch's linear layers do.

    Kernel and bias are drawn uniformly within `1 / sqrt(inputs)` of 0, which
    is what every published model relies on where it says nothing. Pass
    initializers to have it otherwise.

    Args:
        units: int. Width of the output.
        kernel_initializer: optional initializer.
        bias_initializer: optional initializer.
        **kwargs: further arguments of `keras.layers.Dense`.

    Input shape:
        `(batch, ..., inputs)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    ```python
    linear = keras_pointpeft.layers.Linear(64)
    features = linear(np.random.rand(2, 32, 96))  # (2, 32, 64)
    ```
    """

    def __init__(
        self, units, kernel_initializer=None, bias_initializer=None, **kwargs
    ):
        # The range depends on the width of the inputs, which a bias does not
        # see: `build` sets its initializer.
        self._uniform_bias = bias_initializer is None
        super().__init__(
            units,
            kernel_initializer=kernel_initializer
            or keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
            bias_initializer=bias_initializer or "zeros",
            **kwargs,
        )

    def build(self, input_shape):
        if self._uniform_bias:
            limit = 1 / math.sqrt(input_shape[-1])
            self.bias_initializer = keras.initializers.RandomUniform(
                -limit, limit
            )
        super().build(input_shape)

    def call(self, inputs, training=None):
        bias = self.bias
        x = linear(
            inputs,
            ops.convert_to_tensor(self.kernel),
            None if bias is None else ops.convert_to_tensor(bias),
        )
        return x if self.activation is None else self.activation(x)

    def products(self, *inputs):
        """What inputs that stand side by side add to the output, each alone.

        The sum, with `bias`, is the layer's output for the concatenation.
        What is the same for many rows, or is mixed afterwards, costs less so.

        Args:
            *inputs: tensors `(batch, ..., width)`; the widths add up to the
                kernel's.

        Returns:
            list of tensors `(batch, ..., units)`.
        """
        kernel = ops.convert_to_tensor(self.kernel)
        found, start = [], 0
        for x in inputs:
            end = start + x.shape[-1]
            found.append(linear(x, kernel[start:end]))
            start = end
        return found

    def get_config(self):
        config = super().get_config()
        if self._uniform_bias:
            config["bias_initializer"] = None
        return config


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
        moving = (self.moving_mean, self.moving_variance)
        moves = training and not self.frozen_statistics
        y, *moved = batch_norm(
            ops.cast(inputs, "float32"),
            *(v.value for v in (self.gamma, self.beta, *moving)),
            self.epsilon,
            MOMENTUM if moves else None,
        )
        if moves:
            for variable, value in zip(moving, moved):
                variable.assign(value)
        return ops.cast(y, self.compute_dtype)

    def scale_and_shift(self):
        """Two tensors `(dim,)`: what the moving statistics amount to."""
        scale = self.gamma / ops.sqrt(self.moving_variance + self.epsilon)
        return scale, self.beta - self.moving_mean * scale

    def compute_output_shape(self, input_shape):
        return input_shape


@serializable
class Dropout(keras.layers.Dropout):
    """A `keras.layers.Dropout` whose masks a captured step can draw.

    On torch all masks of a training step are drawn together, and what the
    backward pass computes again gets the same ones. A layer with a seed of
    its own draws from that, as Keras does. It has the name of Keras' own, for
    files of weights have it too.

    Args:
        rate: float in `[0, 1)`. Share of the values that become 0.
        **kwargs: further arguments of `keras.layers.Dropout`.

    Input shape:
        Any.

    Output shape:
        As the input's.

    Raises:
        ValueError: if `rate` is negative, or 1 or more: of nothing that is
            left, backends make nothing or NaN.

    Example:
    ```python
    drop = keras_pointpeft.layers.Dropout(0.1)
    tokens = drop(np.random.rand(2, 32, 96), training=True)
    ```
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        if not 0.0 <= rate < 1.0:
            raise ValueError(
                f"`rate` must be at least 0 and below 1. Received: rate={rate}"
            )
        super().__init__(rate, noise_shape, seed, **kwargs)

    def mask(self, shape, like):
        """What training multiplies values by: 0, or `1 / (1 - rate)`.

        Args:
            shape: tuple of ints.
            like: tensor with the type and device of the mask.

        Returns:
            tensor of that shape.
        """
        if self.seed is None:
            fast = accelerators.find("dropout_mask")
            if fast is not None:
                return fast(shape, self.rate, like)
        else:
            fast = accelerators.find("seeded_mask")
            if fast is not None:
                return fast(shape, self.rate, like, self.seed_generator)
        return super().call(ops.ones(shape, like.dtype), training=True)

    def gate(self, shape, like):
        """What values in front of a GELU become at most in training.

        So low that the activation and its slope are 0 for those that dropout
        takes; the others are to be multiplied by `1 / (1 - rate)`.

        Args:
            shape: tuple of ints.
            like: tensor with the type and device of the gate.

        Returns:
            tensor of that shape.
        """
        fast = accelerators.find("dropout_gate")
        if fast is not None and self.seed is None:
            return fast(shape, self.rate, like)
        shut = self.mask(shape, like) == 0
        return ops.cast(ops.where(shut, SHUT, float("inf")), like.dtype)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        if accelerators.find("dropout_mask") is None:
            return super().call(inputs, training=True)
        shape = ops.shape(inputs)
        if self.noise_shape is not None:
            pairs = zip(self.noise_shape, shape, strict=True)
            shape = tuple(n or size for n, size in pairs)
        return inputs * self.mask(shape, inputs)


@serializable
class DropPath(Configurable, keras.layers.Layer):
    """Stochastic depth: drops a residual branch, sample by sample.

    Each sample keeps its branch with probability `1 - rate`, and is then
    divided by it ([Huang et al., 2016](https://arxiv.org/abs/1603.09382)).
    Identity outside of training.

    Args:
        rate: float in `[0, 1)`. Probability of dropping.
        seed: optional int or `keras.random.SeedGenerator`.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Raises:
        ValueError: if `rate` is negative, or 1 or more.

    Example:
    ```python
    drop = keras_pointpeft.layers.DropPath(0.2)
    branch = np.random.rand(8, 32, 96)
    branch = drop(branch, training=True)  # 0 for about every fifth sample
    ```
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.dropout = Dropout(
            rate, seed=seed, dtype=self.dtype_policy, name="dropout"
        )

    def build(self, input_shape):
        self.dropout.build((None, 1, 1))

    def call(self, inputs, training=False, residual=None):
        """Drops, and adds what is left to a residual if there is one."""
        if not training or self.rate == 0.0:
            return inputs if residual is None else residual + inputs
        shape = (keras.ops.shape(inputs)[0], 1, 1)
        mask = self.dropout.mask(shape, inputs)
        if residual is None:
            return inputs * mask
        return add_scaled(residual, inputs, mask)

    def compute_output_shape(self, input_shape):
        return input_shape
