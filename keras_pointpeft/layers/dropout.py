import keras
from keras import ops

from keras_pointpeft.ops import accelerators
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
