"""How GFT brings the graph feature into a later block."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops.arithmetic import attention
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class GraphAttention(Configurable, keras.layers.Layer):
    """Lets every token look at the graph feature of all tokens.

    A narrow attention, behind a norm of either side; a linear layer and GELU
    take it back to the width of the tokens.

    Args:
        rank: int. Width of the attention, of all heads together.
        num_heads: int. Must divide `rank`.
        dropout: float. Dropout rate of the attention's weights.

    Input shape:
        tokens `(batch, tokens, dim)` and graph `(batch, tokens, width)`.

    Output shape:
        `(batch, tokens, dim)`.
    """

    def __init__(self, rank=32, num_heads=1, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.num_heads = num_heads
        self.dropout = dropout
        policy = self.dtype_policy

        def linear(name):
            return Linear(rank, use_bias=False, dtype=policy, name=name)

        self.query_norm = LayerNormalization(dtype=policy, name="query_norm")
        self.graph_norm = LayerNormalization(dtype=policy, name="graph_norm")
        self.query = linear("query")
        self.key = linear("key")
        self.value = linear("value")
        self.drop = Dropout(dropout, dtype=policy, name="drop")

    def build(self, tokens_shape, graph_shape):
        dim, width = tokens_shape[-1], graph_shape[-1]
        self.query_norm.build((None, None, dim))
        self.graph_norm.build((None, None, width))
        self.query.build((None, None, dim))
        self.key.build((None, None, width))
        self.value.build((None, None, width))
        self.proj = Linear(dim, dtype=self.dtype_policy, name="proj")
        self.proj.build((None, None, self.rank))

    def call(self, tokens, graph, training=False):
        graph = self.graph_norm(graph)
        query, key, value = (
            self._heads(x)
            for x in (
                self.query(self.query_norm(tokens)),
                self.key(graph),
                self.value(graph),
            )
        )
        if training and self.dropout:
            scores = ops.einsum("bqhw,bkhw->bhqk", query, key)
            scores = ops.cast(scores, "float32") * query.shape[-1] ** -0.5
            weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
            weights = self.drop(weights, training=training)
            mixed = ops.einsum("bhqk,bkhw->bqhw", weights, value)
        else:
            mixed = attention(query, key, value)
        mixed = ops.reshape(mixed, (-1, tokens.shape[1], self.rank))
        return gelu(self.proj(mixed))

    def _heads(self, x):
        width = self.rank // self.num_heads
        return ops.reshape(x, (-1, x.shape[1], self.num_heads, width))

    def compute_output_shape(self, tokens_shape, graph_shape=None):
        return tokens_shape


@serializable
class GraphTuner(Configurable, BlockTuner):
    """A `GraphAttention` behind one block."""

    needs = ("graph",)

    def __init__(self, graph_dim, rank, num_heads, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.graph_dim = graph_dim
        self.rank = rank
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention = GraphAttention(
            rank, num_heads, dropout, dtype=self.dtype_policy, name="attention"
        )

    def build(self, tokens_shape):
        self.attention.build(tokens_shape, (None, None, self.graph_dim))

    def leave(self, tokens, side, geometry, training):
        graph = geometry["graph"]
        return tokens + self.attention(tokens, graph, training=training)
