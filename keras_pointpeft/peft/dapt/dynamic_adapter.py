"""DAPT's dynamic adapter: a scale of its own for every token."""

import keras
from keras import ops

from keras_pointpeft.layers.dropout import Dropout
from keras_pointpeft.layers.linear import Linear
from keras_pointpeft.layers.norms import LayerNormalization
from keras_pointpeft.layers.recompute import part_call
from keras_pointpeft.ops.arithmetic import dynamic_adapter
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class DynamicAdapter(Configurable, keras.layers.Layer):
    """A bottleneck adapter that gives every token its own scale.

    `scale * up(dropout(gelu(down(norm(x)))))` with the scale
    `relu(norm(x) @ w + b)`, one number per token (section 3.2 of the paper).
    The up-projection starts at zero, and so does the adapter's output.

    Args:
        rank: int. Width of the bottleneck.
        dropout: float. Dropout rate inside the bottleneck.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Example:
    ```python
    adapter = keras_pointpeft.peft.DynamicAdapter(rank=64)
    added = adapter(np.random.rand(2, 33, 96))  # to the tokens
    ```
    """

    def __init__(self, rank=64, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.dropout = dropout
        policy = self.dtype_policy
        self.norm = LayerNormalization(dtype=policy, name="norm")
        self.scale = Linear(
            1, bias_initializer="zeros", dtype=policy, name="scale"
        )
        self.down = Linear(
            rank, bias_initializer="zeros", dtype=policy, name="down"
        )
        self.drop = Dropout(dropout, dtype=policy, name="drop")

    def build(self, input_shape):
        dim = input_shape[-1]
        self.up = Linear(
            dim,
            kernel_initializer="zeros",
            bias_initializer="zeros",
            dtype=self.dtype_policy,
            name="up",
        )
        for layer in (self.norm, self.scale, self.down):
            layer.build((None, None, dim))
        for layer in (self.drop, self.up):
            layer.build((None, None, self.rank))

    def token_scale(self, normed):
        """The dynamic scale `(batch, tokens, 1)` of normalized tokens."""
        return ops.relu(part_call(self.scale, normed))

    def call(self, tokens, training=False):
        mask = None
        if training and self.dropout:
            shape = (*ops.shape(tokens)[:-1], self.rank)
            mask = self.drop.mask(shape, tokens)

        def values(layer):
            both = (layer.kernel, layer.bias)
            return tuple(ops.convert_to_tensor(x) for x in both)

        norm = self.norm
        return dynamic_adapter(
            tokens,
            (norm.gamma.value, norm.beta.value, norm.epsilon),
            values(self.scale),
            values(self.down),
            values(self.up),
            mask,
        )

    def compute_output_shape(self, input_shape):
        return input_shape
