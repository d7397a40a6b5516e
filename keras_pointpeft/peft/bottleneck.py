import keras
from keras import ops

from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def quick_gelu(x):
    """`x * sigmoid(1.702 x)`, a cheap approximation of GELU."""
    return x * ops.sigmoid(1.702 * x)


@serializable
class BottleneckAdapter(Configurable, keras.layers.Layer):
    """Down to a narrow width, QuickGELU, dropout and up again.

    The adapter of [Point-PEFT](https://arxiv.org/abs/2310.03059). It starts
    with Xavier-uniform kernels and biases next to 0, and so *not* as the
    identity.

    Args:
        rank: int. Width of the bottleneck.
        dropout: float. Dropout rate inside the bottleneck.
        residual: bool. Whether the input is added to the output.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.
    """

    config_names = ("rank", "dropout", "residual")

    def __init__(self, rank, dropout=0.0, residual=False, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.dropout = dropout
        self.residual = residual
        self.down = self._linear(rank, "down")
        self.drop = keras.layers.Dropout(
            dropout, dtype=self.dtype_policy, name="drop"
        )

    def _linear(self, units, name):
        return keras.layers.Dense(
            units,
            kernel_initializer=keras.initializers.GlorotUniform(),
            bias_initializer=keras.initializers.RandomNormal(stddev=1e-6),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        dim = input_shape[-1]
        self.up = self._linear(dim, "up")
        self.down.build((None, None, dim))
        self.up.build((None, None, self.rank))

    def call(self, x, training=False):
        hidden = self.drop(quick_gelu(self.down(x)), training=training)
        y = self.up(hidden)
        return x + y if self.residual else y

    def compute_output_shape(self, input_shape):
        return input_shape
