import keras

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.transformer_block import TransformerBlock
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class BranchDropout(Configurable, BlockTuner):
    """Dropout at the end of attention and MLP of a block."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.drops = {
            place: Dropout(rate, dtype=self.dtype_policy, name=f"{place}_drop")
            for place in ("proj", "fc2")
        }

    def build(self, tokens_shape):
        self.built = True

    def after(self, place, x, training):
        drop = self.drops.get(place)
        return x if drop is None else drop(x, training=training)


@serializable
class TokenDecoder(Configurable, keras.layers.Layer):
    """Joins the tokens of several blocks, the deepest first, in narrow ones.

    The decoder of [GFT](https://arxiv.org/abs/2511.10799)'s segmentation: a
    linear layer makes the tokens of the deepest block narrow, and a
    transformer block works on them; those of the next one join, and so on.

    Args:
        dim: int. Width of its blocks.
        num_heads: int. Attention heads; must divide `dim`.
        mlp_ratio: float. Width of the blocks' MLPs over `dim`.
        drop_path_rate: float. Stochastic depth of each block.
        dropout: float. Dropout rate behind attention and MLP.

    Input shape:
        list of tensors `(batch, tokens, width)`, the earliest block's first.

    Output shape:
        `(batch, tokens, dim)`.

    Example:
    ```python
    decoder = keras_pointpeft.layers.TokenDecoder(dim=32)
    early, late = np.random.rand(2, 2, 37, 96)
    tokens = decoder([early, late])  # (2, 37, 32)
    ```
    """

    def __init__(
        self,
        dim=128,
        num_heads=4,
        mlp_ratio=8.0,
        drop_path_rate=0.1,
        dropout=0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.drop_path_rate = drop_path_rate
        self.dropout = dropout

    def build(self, tokens_shape):
        policy = self.dtype_policy
        self.narrows = [
            Linear(self.dim, dtype=policy, name=f"narrow_{i}")
            for i in range(len(tokens_shape))
        ]
        self.blocks = [
            TransformerBlock(
                self.dim,
                self.num_heads,
                self.mlp_ratio,
                qkv_bias=True,
                drop_path_rate=self.drop_path_rate,
                tuner=BranchDropout(self.dropout, dtype=policy, name="drops"),
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(len(tokens_shape))
        ]
        for narrow, block, shape in zip(
            self.narrows, self.blocks, tokens_shape[::-1]
        ):
            narrow.build(shape)
            block.build((None, None, self.dim))

    def call(self, tokens, training=False):
        y = 0.0
        for x, narrow, block in zip(tokens[::-1], self.narrows, self.blocks):
            y = block(narrow(x) + y, training=training)
        return y

    def compute_output_shape(self, tokens_shape):
        return (*tokens_shape[0][:-1], self.dim)
