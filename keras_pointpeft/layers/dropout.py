"""Dropout of values and of whole residual branches."""

import keras
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


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

    Example:
    ```python
    drop = keras_pointpeft.layers.Dropout(0.1)
    tokens = drop(np.random.rand(2, 32, 96), training=True)
    ```
    """

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
        if not 0.0 <= rate < 1.0:
            raise ValueError(
                f"`rate` must be at least 0 and below 1. Received: rate={rate}"
            )
        self.rate = rate
        self.seed = seed
        self.dropout = Dropout(
            rate, seed=seed, dtype=self.dtype_policy, name="dropout"
        )

    def build(self, input_shape):
        self.dropout.build((None, 1, 1))

    def call(self, inputs, training=False):
        if not training or self.rate == 0.0:
            return inputs
        shape = (keras.ops.shape(inputs)[0], 1, 1)
        return inputs * self.dropout.mask(shape, inputs)

    def compute_output_shape(self, input_shape):
        return input_shape
