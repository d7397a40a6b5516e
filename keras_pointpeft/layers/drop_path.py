import keras

from keras_pointpeft.layers.dropout import Dropout
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


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
