"""Attention among the tokens of a neighbourhood."""

import keras
from keras import ops

from keras_pointpeft.layers.linear import Linear
from keras_pointpeft.layers.norms import LayerNormalization
from keras_pointpeft.ops.arithmetic import attention
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class LocalAttention(Configurable, keras.layers.Layer):
    """Self-attention inside neighbourhoods of tokens, in a narrow width.

    Norm and projection to queries, keys and values act on single tokens, so
    they are computed once per token and not once per neighbour.

    Args:
        dim: int. Width of queries, keys and values, all heads together.
        num_heads: int. Attention heads; must divide `dim`.

    Input shape:
        tokens `(rows, width)`; int32 rows `(neighborhoods, neighbors)`.

    Output shape:
        `(neighborhoods, neighbors, width)`.
    """

    def __init__(self, dim=18, num_heads=6, **kwargs):
        super().__init__(**kwargs)
        if dim % num_heads:
            raise ValueError(
                "`num_heads` must divide the width of the local attention. "
                f"Received: dim={dim}, num_heads={num_heads}"
            )
        self.dim = dim
        self.num_heads = num_heads
        policy = self.dtype_policy
        self.norm = LayerNormalization(dtype=policy, name="norm")
        self.qkv = Linear(3 * dim, use_bias=False, dtype=policy, name="qkv")

    def build(self, tokens_shape, rows_shape=None):
        width = tokens_shape[-1]
        self.proj = Linear(width, dtype=self.dtype_policy, name="proj")
        self.norm.build((None, width))
        self.qkv.build((None, width))
        self.proj.build((None, None, self.dim))

    def call(self, tokens, rows):
        neighbors = rows.shape[-1]
        qkv = self.qkv(self.norm(tokens))
        qkv = ops.take(qkv, ops.reshape(rows, (-1,)), axis=0)
        heads, width = self.num_heads, self.dim // self.num_heads
        qkv = ops.reshape(qkv, (-1, neighbors, 3, heads, width))
        # The published scale is that of one head of the full width.
        x = attention(
            qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], scale=self.dim**-0.5
        )
        return self.proj(ops.reshape(x, (-1, neighbors, self.dim)))

    def compute_output_shape(self, tokens_shape, rows_shape):
        return (*rows_shape, tokens_shape[-1])
