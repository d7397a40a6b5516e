"""The networks that make a prompt of a cloud's tokens, of IDPT."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.peft.neighborhoods import EdgeConv
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

# How many graph convolutions each module has; none for the other kinds.
MODULES = {
    "dgcnn": 3,
    "dgcnn_light": 1,
    "dgcnn_light2": 2,
    "mlp": 0,
    "transformer": None,
}


@serializable
class InstancePrompt(Configurable, keras.layers.Layer):
    """Makes one prompt of all patch tokens.

    [IDPT](https://arxiv.org/abs/2304.07221), section 3.3.

    Args:
        module: `"dgcnn"`, three `EdgeConv`s, their outputs side by side, a
            linear layer with BatchNorm and LeakyReLU, and the maximum over
            the tokens; `"dgcnn_light2"` and `"dgcnn_light"`, two or one of
            them; `"mlp"`, none; `"transformer"`, a transformer block and the
            maximum.
        num_neighbors: int. See `EdgeConv`.
        num_heads: int. Attention heads of the transformer block.

    Input shape:
        patch tokens and their positions, `(batch, groups, dim)` each.

    Output shape:
        `(batch, 1, dim)`.

    Example:
    ```python
    prompt = keras_pointpeft.peft.InstancePrompt("dgcnn_light")
    tokens, positions = np.random.rand(2, 4, 32, 96)
    prompt(tokens, positions)  # (4, 1, 96)
    ```
    """

    renamed = {"neighbors": "num_neighbors"}

    def __init__(self, module="dgcnn", num_neighbors=20, num_heads=6, **kwargs):
        super().__init__(**kwargs)
        self.module = module
        self.num_neighbors = num_neighbors
        self.num_heads = num_heads
        policy = self.dtype_policy
        self.edges = [
            EdgeConv(num_neighbors, dtype=policy, name=f"edge{i + 1}")
            for i in range(MODULES[module] or 0)
        ]
        self.norm = None
        if module != "transformer":
            self.norm = BatchNorm(dtype=policy, name="norm")

    def build(self, tokens_shape, positions_shape=None):
        dim, policy = tokens_shape[-1], self.dtype_policy
        if self.module == "transformer":
            # Its module imports this package.
            from keras_pointpeft.layers import TransformerBlock

            self.block = TransformerBlock(
                dim, self.num_heads, dtype=policy, name="block"
            )
            self.block.build(tokens_shape)
            return
        for edge in self.edges:
            edge.build(tokens_shape)
        self.linear = Linear(dim, use_bias=False, dtype=policy, name="linear")
        self.linear.build((None, None, dim * max(1, len(self.edges))))
        self.norm.build(tokens_shape)

    def call(self, tokens, positions, training=False):
        if self.module == "transformer":
            x = self.block(tokens + positions, training=training)
            return ops.max(x, axis=1, keepdims=True)
        x, outputs = tokens, []
        for edge in self.edges:
            x = edge(x, training=training)
            outputs.append(x)
        if outputs:
            x = ops.concatenate(outputs, axis=-1)
        x = self.norm(self.linear(x), training=training)
        return ops.max(ops.leaky_relu(x, 0.2), axis=1, keepdims=True)

    def compute_output_shape(self, tokens_shape, positions_shape=None):
        return (tokens_shape[0], 1, tokens_shape[-1])
