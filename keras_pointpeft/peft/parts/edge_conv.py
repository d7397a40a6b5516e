"""Convolutions over graphs of tokens with similar features."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import gather
from keras_pointpeft.ops.arithmetic import largest
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def nearest_features(x, count):
    """Indices of the nearest rows by their features, a row itself included.

    Args:
        x: `(batch, rows, dim)`.
        count: int.

    Returns:
        int32 `(batch, rows, count)`, without gradient.
    """
    x = ops.stop_gradient(ops.cast(x, "float32"))
    square = ops.sum(x * x, axis=-1)
    product = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    distance = square[:, :, None] + square[:, None, :] - 2.0 * product
    return ops.cast(ops.top_k(-distance, count)[1], "int32")


@serializable
class EdgeConv(Configurable, keras.layers.Layer):
    """A convolution over the graph of nearest features.

    [DGCNN](https://arxiv.org/abs/1801.07829): a linear layer on
    `[neighbor - token, token]`, BatchNorm and LeakyReLU, and the maximum over
    the neighbours. A linear layer of a difference is a difference of two
    products, so both halves are computed once per token and not per edge.

    Args:
        num_neighbors: int. Neighbours of a token, itself included; all
            tokens if there are fewer.
        dim: optional int. Width of the output, by default the input's.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        `(batch, tokens, dim)`.
    """

    renamed = {"neighbors": "num_neighbors"}

    def __init__(self, num_neighbors=20, dim=None, **kwargs):
        super().__init__(**kwargs)
        self.num_neighbors = num_neighbors
        self.dim = dim
        self.norm = BatchNorm(dtype=self.dtype_policy, name="norm")

    def build(self, tokens_shape):
        width = tokens_shape[-1]
        dim = self.dim or width
        self.linear = Linear(
            dim, use_bias=False, dtype=self.dtype_policy, name="linear"
        )
        self.linear.build((None, None, 2 * width))
        self.norm.build((None, None, dim))

    def call(self, tokens, training=False):
        width = tokens.shape[-1]
        count = min(self.num_neighbors, tokens.shape[1])
        index = nearest_features(tokens, count)
        kernel = ops.convert_to_tensor(self.linear.kernel)
        outer = ops.matmul(tokens, kernel[:width])
        inner = ops.matmul(tokens, kernel[width:]) - outer
        edges = gather(outer, index) + inner[:, :, None]
        edges = self.norm(edges, training=training)
        return largest(ops.leaky_relu(edges, 0.2), axis=2)

    def compute_output_shape(self, tokens_shape):
        return (*tokens_shape[:-1], self.dim or tokens_shape[-1])
