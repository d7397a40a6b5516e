import keras
from keras import ops

from keras_pointpeft.layers.drop_path import DropPath
from keras_pointpeft.layers.linear import Linear
from keras_pointpeft.peft.method import NO_TUNER
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class TransformerBlock(Configurable, keras.layers.Layer):
    """The one pre-norm transformer block of all backbones and methods.

    Attention and MLP, each behind a LayerNorm and around a residual. A
    fine-tuning method acts through its `tuner` at named points and nowhere
    else; see `keras_pointpeft.peft.BlockTuner`.

    Args:
        dim: int. Width of the tokens.
        num_heads: int. Attention heads; must divide `dim`.
        mlp_ratio: float. Width of the MLP over `dim`.
        qkv_bias: bool. Whether query, key and value have a bias.
        drop_path_rate: float. Stochastic depth of both branches.
        epsilon: float. Of the LayerNorms.
        normalized_skips: tuple of two bools. Whether the residuals of
            attention and MLP leave after their norm instead of before it.
        causal: bool. Whether a token sees only those before it, and itself.
        contrast: optional `keras_pointpeft.layers.ContrastTokens`. The first
            tokens then have weights of their own and look at the others
            alone, which do not see them.
        tuner: optional `BlockTuner`.

    Input shape:
        tokens `(batch, tokens, dim)`; geometry, a dict of tensors that the
        tuner may read; attention_mask, boolean
        `(batch or 1, tokens, tokens)`, true where attention is allowed. If it
        is of fewer tokens, those in front are prompts; see
        `keras_pointpeft.peft.BlockTuner.allow`.

    Output shape:
        `(batch, tokens + tuner.tokens_added, dim)`.
    """

    config_names = (
        "dim",
        "num_heads",
        "mlp_ratio",
        "qkv_bias",
        "drop_path_rate",
        "epsilon",
        "normalized_skips",
        "causal",
        "contrast",
        "tuner",
    )

    def __init__(
        self,
        dim,
        num_heads,
        mlp_ratio=4.0,
        qkv_bias=False,
        drop_path_rate=0.0,
        epsilon=1e-5,
        normalized_skips=(False, False),
        causal=False,
        contrast=None,
        tuner=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if dim % num_heads:
            raise ValueError(
                "`num_heads` must divide `dim`. "
                f"Received: dim={dim}, num_heads={num_heads}"
            )
        self.dim = dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.qkv_bias = qkv_bias
        self.drop_path_rate = drop_path_rate
        self.epsilon = epsilon
        self.normalized_skips = tuple(normalized_skips)
        self.causal = causal
        self.contrast = contrast
        self.tuner = tuner
        policy = self.dtype_policy
        self.mlp_dim = int(dim * mlp_ratio)

        def norm(name):
            return keras.layers.LayerNormalization(
                epsilon=epsilon, dtype=policy, name=name
            )

        def linear(units, name, use_bias=True):
            return Linear(units, use_bias=use_bias, dtype=policy, name=name)

        self.norm1 = norm("norm1")
        self.qkv = linear(3 * dim, "qkv", use_bias=qkv_bias)
        self.proj = linear(dim, "proj")
        self.norm2 = norm("norm2")
        self.fc1 = linear(self.mlp_dim, "fc1")
        self.fc2 = linear(dim, "fc2")
        self.drop_path1 = DropPath(
            drop_path_rate, dtype=policy, name="drop_path1"
        )
        self.drop_path2 = DropPath(
            drop_path_rate, dtype=policy, name="drop_path2"
        )

    def build(
        self, tokens_shape, geometry_shape=None, attention_mask_shape=None
    ):
        shape = (None, None, self.dim)
        for layer in (self.norm1, self.qkv, self.proj, self.norm2, self.fc1):
            layer.build(shape)
        self.fc2.build((None, None, self.mlp_dim))
        if self.contrast is not None:
            self.contrast.build(shape)
        if self.tuner is not None:
            self.tuner.build(shape)

    def call(self, tokens, geometry=None, attention_mask=None, training=False):
        tuner = NO_TUNER if self.tuner is None else self.tuner
        return self._run(tokens, geometry, attention_mask, training, tuner)

    def untuned(self, tokens, attention_mask=None):
        """The block without its tuner, as in inference."""
        return self._run(tokens, None, attention_mask, False, NO_TUNER)

    def _run(self, tokens, geometry, attention_mask, training, tuner):
        x = tuner.enter(tokens, geometry, training)
        if attention_mask is not None:
            attention_mask = tuner.allow(attention_mask, x.shape[1])

        y = tuner.modulate("norm1", self._apply("norm1", x))
        if self.normalized_skips[0]:
            x = y
        y = tuner.modulate(
            "proj",
            self._apply(
                "proj", self._mix(y, attention_mask, tuner, geometry, training)
            ),
        )
        if tuner.drops_attention:
            y = self.drop_path1(y, training=training)
        x = x + y

        y = tuner.modulate("norm2", self._apply("norm2", x))
        if self.normalized_skips[1]:
            x = y
        side = tuner.beside_mlp(y, training)
        y = tuner.mlp_input(x, y)
        y = tuner.modulate("fc1", self._apply("fc1", y))
        y = ops.gelu(y, approximate=False)
        y = tuner.modulate("fc2", self._apply("fc2", y))
        if side is not None:
            y = y + side
        y = tuner.after_mlp(self.drop_path2(y, training=training), training)
        return tuner.leave(x + y, side, geometry, training)

    def _apply(self, name, x):
        """One of the layers, or the contrast tokens' own on these tokens."""
        layer = getattr(self, name)
        if self.contrast is None:
            return layer(x)
        first, last = self.contrast.split(x)
        parts = (getattr(self.contrast, name)(first), layer(last))
        return ops.concatenate(parts, axis=1)

    def _mix(self, x, mask, tuner, geometry, training):
        if self.contrast is None:
            qkv = tuner.modulate("qkv", self.qkv(x))
            mixed = self._attend(qkv, mask)
            beside = tuner.beside_attention(self, qkv, geometry, training)
            return mixed if beside is None else mixed + beside
        first, last = self.contrast.split(x)
        mixed = self._attend(tuner.modulate("qkv", self.qkv(last)), mask)
        seen = self.contrast.look(first, last)
        return ops.concatenate((seen, mixed), axis=1)

    def split_heads(self, qkv):
        """Query, key and value, each `(batch, tokens, heads, width)`."""
        heads, width = self.num_heads, self.dim // self.num_heads
        qkv = ops.reshape(qkv, (-1, qkv.shape[1], 3, heads, width))
        return qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]

    def _attend(self, qkv, mask):
        tokens = qkv.shape[1]
        query, key, value = self.split_heads(qkv)
        if mask is not None:
            mask = mask[:, None]
            if self.causal:
                place = ops.arange(tokens)
                mask = mask & (place[None] <= place[:, None])
        # Without `flash_attention=False` Keras probes the device every call.
        x = ops.dot_product_attention(
            query,
            key,
            value,
            mask=mask,
            is_causal=self.causal and mask is None,
            flash_attention=False,
        )
        return ops.reshape(x, (-1, tokens, self.dim))

    def compute_output_shape(
        self, tokens_shape, geometry_shape=None, attention_mask_shape=None
    ):
        batch, tokens, dim = tokens_shape
        added = 0 if self.tuner is None else self.tuner.tokens_added
        return (batch, tokens + added, dim)
