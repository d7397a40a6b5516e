import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def quick_gelu(x):
    """`x * sigmoid(1.702 x)`, a cheap approximation of GELU."""
    return x * ops.sigmoid(1.702 * x)


ACTIVATIONS = {
    "gelu": gelu,
    "quick_gelu": quick_gelu,
    "relu": ops.relu,
    "silu": ops.silu,
}


@serializable
class BottleneckAdapter(Configurable, keras.layers.Layer):
    """Down to a narrow width, an activation, dropout and up again.

    By default the adapter of [Point-PEFT](https://arxiv.org/abs/2310.03059).

    Args:
        rank: int. Width of the bottleneck.
        dropout: float. Dropout rate inside the bottleneck.
        residual: bool. Whether the input is added to the output.
        activation: `"quick_gelu"`, `"gelu"`, `"relu"` or `"silu"`.
        start: how it starts. `"xavier"`: Xavier-uniform kernels and biases
            next to 0, and so *not* with an output of 0; `"zero"`: with one;
            `"linear"`: as two of PyTorch's linear layers.
        units: optional int. Width of the output; the input's by default.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, units)`.

    Raises:
        ValueError: for an unknown `start`.

    Example:
    ```python
    adapter = keras_pointpeft.peft.BottleneckAdapter(rank=8, start="zero")
    added = adapter(np.random.rand(2, 32, 96))  # to the tokens
    ```
    """

    def __init__(
        self,
        rank,
        dropout=0.0,
        residual=False,
        activation="quick_gelu",
        start="xavier",
        units=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if start not in ("xavier", "zero", "linear"):
            raise ValueError(
                "`start` must be 'xavier', 'zero' or 'linear'. "
                f"Received: start={start!r}"
            )
        self.rank = rank
        self.dropout = dropout
        self.residual = residual
        self.activation = activation
        self.start = start
        self.units = units
        self.down = self._linear(rank, "down")
        self.drop = Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def _linear(self, units, name):
        if self.start == "xavier":
            start = (
                keras.initializers.GlorotUniform(),
                keras.initializers.RandomNormal(stddev=1e-6),
            )
        elif self.start == "zero" and name == "up":
            start = ("zeros", "zeros")
        else:
            start = (None, None)
        return Linear(units, *start, dtype=self.dtype_policy, name=name)

    def build(self, input_shape):
        dim = input_shape[-1]
        self.up = self._linear(self.units or dim, "up")
        self.down.build((None, None, dim))
        self.up.build((None, None, self.rank))

    def call(self, x, training=False):
        hidden = ACTIVATIONS[self.activation](self.down(x))
        y = self.up(self.drop(hidden, training=training))
        return x + y if self.residual else y

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units or input_shape[-1])


def mlp(rank, name, policy, units=None):
    """Two linear layers with a GELU between them."""
    return BottleneckAdapter(
        rank,
        activation="gelu",
        start="linear",
        units=units,
        dtype=policy,
        name=name,
    )
