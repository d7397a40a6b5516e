import keras
from keras import ops

from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops.arithmetic import attention
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class ContrastTokens(Configurable, keras.layers.Layer):
    """The contrast tokens' share of a transformer block.

    [Contrast with Reconstruct](https://arxiv.org/abs/2302.02318), section 3.
    Tokens that were trained by contrast, one per modality, have norms, MLP
    and a cross-attention of their own: they look at the patches, which do not
    see them. A `keras_pointpeft.layers.TransformerBlock` does the rest.

    Args:
        dim: int. Width of the tokens.
        num_heads: int. Attention heads; must divide `dim`.
        num_tokens: int. How many contrast tokens the sequence begins with.

    Input shape:
        `(batch, num_tokens + tokens, dim)`, as `split` takes it.

    Output shape:
        of `look`, `(batch, num_tokens, dim)`.

    Example:
    ```python
    contrast = keras_pointpeft.layers.ContrastTokens(dim=96, num_heads=6)
    block = keras_pointpeft.layers.TransformerBlock(96, 6, contrast=contrast)
    tokens = block(np.random.rand(2, 3 + 32, 96))  # (2, 35, 96)
    ```
    """

    removed = {"mlp_ratio": 4.0, "epsilon": 1e-5}

    def __init__(self, dim, num_heads, num_tokens=3, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.num_tokens = num_tokens
        policy = self.dtype_policy
        self.mlp_dim = 4 * dim

        def norm(name):
            return LayerNormalization(dtype=policy, name=name)

        def linear(units, name, use_bias=True):
            return Linear(units, use_bias=use_bias, dtype=policy, name=name)

        # They have the names of the block's own layers, whose part they play
        # for the contrast tokens.
        self.norm1 = norm("norm1")
        self.query = linear(dim, "query", use_bias=False)
        self.key_value = linear(2 * dim, "key_value", use_bias=False)
        self.proj = linear(dim, "proj")
        self.norm2 = norm("norm2")
        self.fc1 = linear(self.mlp_dim, "fc1")
        self.fc2 = linear(dim, "fc2")

    def build(self, tokens_shape):
        shape = (None, None, self.dim)
        for name in ("norm1", "query", "key_value", "proj", "norm2", "fc1"):
            getattr(self, name).build(shape)
        self.fc2.build((None, None, self.mlp_dim))

    def split(self, tokens):
        """Contrast tokens and the others, each `(batch, tokens, dim)`."""
        return tokens[:, : self.num_tokens], tokens[:, self.num_tokens :]

    def look(self, tokens, others):
        """What the contrast tokens see, before the projection.

        Args:
            tokens: `(batch, num_tokens, dim)`, normalized.
            others: `(batch, tokens, dim)`, normalized.

        Returns:
            `(batch, num_tokens, dim)`.
        """
        query, key, value = self._attended(tokens, others)
        seen = attention(query, key, value)
        return ops.reshape(seen, (-1, tokens.shape[1], self.dim))

    def attention(self, tokens, others):
        """How they look: `(batch, heads, num_tokens, tokens)`; see `look`."""
        query, key, _ = self._attended(tokens, others)
        scores = ops.einsum("bqhw,bkhw->bhqk", query, key)
        scores = ops.cast(scores, "float32") * query.shape[-1] ** -0.5
        return ops.softmax(scores, axis=-1)

    def _attended(self, tokens, others):
        heads, width = self.num_heads, self.dim // self.num_heads
        query = self.query(tokens)
        query = ops.reshape(query, (-1, tokens.shape[1], heads, width))
        pair = self.key_value(others)
        pair = ops.reshape(pair, (-1, others.shape[1], 2, heads, width))
        return query, pair[:, :, 0], pair[:, :, 1]
