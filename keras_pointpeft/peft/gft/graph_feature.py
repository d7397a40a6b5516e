"""The graph branch of GFT: what tokens of similar features have in common."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.peft.neighborhoods import EdgeConv
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class GraphFeature(Configurable, keras.layers.Layer):
    """Graph convolutions over a sequence of tokens, one after the other.

    Each makes its own graph of the nearest features. What all of them give
    stands side by side in front of a linear layer with BatchNorm and
    LeakyReLU. The graphs carry no gradient.

    Args:
        dims: tuple of ints. Widths of the graph convolutions.
        out_dim: int. Width of the feature.
        num_neighbors: int. Neighbours of a token, itself included; all
            tokens if there are fewer.

    Input shape:
        tokens `(batch, tokens, dim)`, without their positions; an empty dict.

    Output shape:
        dict of `"graph"`, `(batch, tokens, out_dim)`.
    """

    needs = ()

    def __init__(self, dims, out_dim, num_neighbors=20, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        self.out_dim = out_dim
        self.num_neighbors = num_neighbors
        policy = self.dtype_policy
        self.edges = [
            EdgeConv(num_neighbors, dim, dtype=policy, name=f"edge{i + 1}")
            for i, dim in enumerate(self.dims)
        ]
        self.linear = Linear(
            out_dim, use_bias=False, dtype=policy, name="linear"
        )
        self.norm = BatchNorm(dtype=policy, name="norm")

    def build(self, tokens_shape, known_shape=None):
        width = tokens_shape[-1]
        for edge in self.edges:
            edge.build((None, tokens_shape[1], width))
            width = edge.dim
        self.linear.build((None, None, sum(self.dims)))
        self.norm.build((None, None, self.out_dim))

    def call(self, tokens, known, training=False):
        found, x = [], tokens
        for edge in self.edges:
            x = edge(x, training=training)
            found.append(x)
        x = self.linear(ops.concatenate(found, axis=-1))
        x = self.norm(x, training=training)
        return {"graph": ops.leaky_relu(x, 0.2)}

    def compute_output_spec(self, tokens, known, training=False):
        shape = (*tokens.shape[:-1], self.out_dim)
        return {"graph": keras.KerasTensor(shape, self.compute_dtype)}
