from typing import NamedTuple

import keras
from keras import ops

from keras_pointpeft.layers.basic import DropPath
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.basic import part_call
from keras_pointpeft.layers.recompute import recomputed_layer
from keras_pointpeft.layers.tuner import NO_TUNER
from keras_pointpeft.layers.tuner import Attended
from keras_pointpeft.layers.tuner import Attention
from keras_pointpeft.layers.tuner import Watch
from keras_pointpeft.layers.tuner import allow_others
from keras_pointpeft.layers.tuner import see_prefixes
from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.arithmetic import affine
from keras_pointpeft.ops.arithmetic import attention
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import recomputed
from keras_pointpeft.ops.arithmetic import recomputed_gelu
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import positive_integer
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
        tokens `(batch, tokens, dim)`; geometry, a dict of the tensors that
        the tuner needs; attention_mask, boolean
        `(batch or 1, tokens, tokens)`, true where attention is allowed. If it
        is of fewer tokens, the others are prompts; the tuner's `unmasked`
        says where they stand.

    Output shape:
        `(batch, tokens + tuner.tokens_added, dim)`.

    Raises:
        ValueError: if `num_heads` does not divide `dim`.

    Example:
    ```python
    block = keras_pointpeft.layers.TransformerBlock(dim=96, num_heads=6)
    tokens = block(np.random.rand(2, 33, 96))  # (2, 33, 96)
    ```
    """

    # What the backward pass computes again; see `PointBackbone.remat`.
    remat = "elementwise"

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
        positive_integer("num_heads", num_heads)
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
            return LayerNormalization(epsilon, dtype=policy, name=name)

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
        self.drop_path1.build(shape)
        self.drop_path2.build(shape)
        if self.contrast is not None:
            self.contrast.build(shape)
        if self.tuner is not None:
            self.tuner.build(shape)

    def call(self, tokens, geometry=None, attention_mask=None, training=False):
        tuner = NO_TUNER if self.tuner is None else self.tuner
        how = _How(tuner, self.contrast, training)

        def run(tokens, geometry):
            return self._run(tokens, geometry, attention_mask, how)

        if training and self.remat == "block":
            run = recomputed_layer(self, run)
        return run(tokens, geometry or {})

    def untuned(self, tokens, attention_mask=None):
        """The block as in inference, without tuner and contrast tokens."""
        return self._run(tokens, {}, attention_mask, _How())

    def watched(self, tokens, geometry=None, attention_mask=None):
        """The block in inference, and what happens inside it.

        Args:
            tokens: `(batch, tokens, dim)`, as in a call.
            geometry: dict of tensors, likewise.
            attention_mask: optional boolean tensor, likewise.

        Returns:
            dict of `"output"`, what a call returns; `"attention"`
            `(batch, heads, queries, keys)`, the weights of the attention, of
            tokens as the tuner makes them (prompts included; without contrast
            tokens); with contrast tokens `"contrast_attention"`, theirs; and
            of a tuner that has one `"token_scale"` `(batch, tokens, 1)`; and
            `"gates"`, a dict of this and what else its hooks told, see
            `keras_pointpeft.peft.BlockTuner`.

        Example:
        ```python
        block = keras_pointpeft.layers.TransformerBlock(96, num_heads=6)
        found = block.watched(keras.random.normal((2, 33, 96)))
        found["attention"]  # (2, 6, 33, 33)
        ```
        """
        tuner = NO_TUNER if self.tuner is None else self.tuner
        seen = {}
        how = _How(tuner, self.contrast, seen=seen)
        watch = tuner.watch = Watch()
        try:
            output = self._run(tokens, geometry or {}, attention_mask, how)
        finally:
            tuner.watch = None
        query, key, _, mask, causal = self._attended(
            seen["qkv"], seen["mask"], tuner
        )
        scores = ops.einsum("bqhw,bkhw->bhqk", query, key)
        scores = ops.cast(scores, "float32") * query.shape[-1] ** -0.5
        if causal:
            place = ops.arange(query.shape[1])
            mask = (place[None] <= place[:, None])[None, None]
        if mask is not None:
            scores = ops.where(mask, scores, -1e30)
        found = {"output": output, "attention": ops.softmax(scores, axis=-1)}
        if self.contrast is not None:
            found["contrast_attention"] = self.contrast.attention(
                *self.contrast.split(seen["norm1"])
            )
        if tuner.token_scale is not None:
            found["token_scale"] = tuner.token_scale(seen["norm2"])
            watch.gates["scale"] = found["token_scale"]
        found["gates"] = watch.gates
        return found

    def _run(self, tokens, geometry, mask, how):
        tuner, training = how.tuner, how.training
        x = tuner.enter(tokens, geometry, training)
        if mask is not None:
            mask = allow_others(mask, x.shape[1], tuner.unmasked)

        def second(x):
            return self._norm("norm2", x, how)

        def beside_mlp(y):
            return tuner.beside("mlp", y, geometry, training)

        # For its backward pass a norm keeps its input; adding a residual keeps
        # nothing.
        read = self._norm("norm1", x, how)
        if self.normalized_skips[0]:
            x = read
        y = self._mix(read, geometry, mask, how)
        y = self._linear("proj", y, geometry, how)
        about = Attended(read, y)
        beside = tuner.beside("attended", about, geometry, training)
        if beside is not None:
            y = y + beside
        drops = training and tuner.drops_attention
        x = part_call(self.drop_path1, y, training=drops, residual=x)

        if self._elementwise(training):
            y, side = _remade(self, second, beside_mlp)(x)
        else:
            y = second(x)
            side = beside_mlp(y)
        if self.normalized_skips[1]:
            x = y
        beside = tuner.beside("branch", x, geometry, training)
        y = x if tuner.mlp_reads == "tokens" else y
        y = self._hidden(y, geometry, how)
        y = self._linear("fc2", y, geometry, how)
        if side is not None:
            y = y + side
        if tuner.acts_after:
            y = part_call(self.drop_path2, y, training=training)
            x = x + tuner.after("mlp", y, training)
        else:
            x = part_call(self.drop_path2, y, training=training, residual=x)
        x = x if beside is None else x + beside
        return tuner.leave(x, side, geometry, training)

    def _norm(self, name, x, how):
        """One of the norms, and what the tuner does about it."""
        layer, scale_shift = getattr(self, name), how.tuner.affine(name)
        contrast = how.contrast
        if contrast is None:
            y = part_call(layer, x, affine=scale_shift)
        else:
            first, last = contrast.split(x)
            own = getattr(contrast, name)(first, affine=scale_shift)
            y = (own, layer(last, affine=scale_shift))
            y = ops.concatenate(y, axis=1)
        return how.note(name, how.tuner.after(name, y, how.training))

    def _linear(self, name, x, geometry, how):
        """One of the linear layers, and what the tuner does about it."""
        y = self._product(name, x, geometry, how, how.contrast)
        return self._tuned(name, y, how)

    def _product(self, name, x, geometry, how, contrast):
        layer = getattr(self, name)
        if contrast is None:
            y = part_call(layer, x)
        else:
            # The contrast tokens go through a layer of their own.
            first, last = contrast.split(x)
            y = (getattr(contrast, name)(first), layer(last))
            y = ops.concatenate(y, axis=1)
        beside = how.tuner.beside(name, x, geometry, how.training)
        return y if beside is None else y + beside

    def _tuned(self, name, x, how):
        scale_shift = how.tuner.affine(name)
        if scale_shift is not None:
            x = affine(x, *scale_shift)
        return how.tuner.after(name, x, how.training)

    def _hidden(self, x, geometry, how):
        """The inner layer of the MLP."""
        x = self._product("fc1", x, geometry, how, how.contrast)
        scale_shift = how.tuner.affine("fc1")
        if scale_shift is None:
            return gelu(x)
        if how.training and self.remat != "none":
            return recomputed_gelu(x, *scale_shift)
        return gelu(affine(x, *scale_shift))

    def _elementwise(self, training):
        # Computing activations again saves memory only if the linear layer
        # behind them is frozen: one that trains keeps its input in any case.
        return (
            training
            and self.remat == "elementwise"
            and not self.fc2.kernel.trainable
        )

    def _mix(self, x, geometry, mask, how):
        first, last = None, x
        if how.contrast is not None:
            first, last = how.contrast.split(x)

        def attend(qkv):
            qkv = self._tuned("qkv", qkv, how)
            return self._attend(qkv, mask, how.tuner), qkv

        if self._elementwise(how.training):
            attend = recomputed(attend)
        # Contrast tokens have a query of their own, and no keys or values.
        mixed, qkv = attend(self._product("qkv", last, geometry, how, None))
        how.note("qkv", qkv)
        how.note("mask", mask)
        if first is not None:
            seen = how.contrast.look(first, last)
            return ops.concatenate((seen, mixed), axis=1)
        about = Attention(qkv, self._heads, self.qkv)
        beside = how.tuner.beside("attention", about, geometry, how.training)
        if beside is None:
            return mixed
        return mixed + ops.reshape(beside, (-1, qkv.shape[1], self.dim))

    def _heads(self, qkv):
        """Query, key and value, each `(batch, tokens, heads, width)`."""
        heads, width = self.num_heads, self.dim // self.num_heads
        qkv = ops.reshape(qkv, (-1, qkv.shape[1], 3, heads, width))
        # In one: the gradients of three slices would be filled up and added.
        return ops.unstack(qkv, 3, axis=2)

    def _attended(self, qkv, mask, tuner):
        """What the attention works on; last, whether it is causal besides."""
        tokens, added = qkv.shape[1], 0
        query, key, value = self._heads(qkv)
        prefix = tuner.prefix()
        if prefix is not None:
            added = prefix[0].shape[0]
            key, value = map(_with_prefix, prefix, (key, value))
        if self.causal and (mask is not None or added):
            place = ops.arange(tokens)
            before = place[None] <= place[:, None]
            mask = before[None] if mask is None else mask & before
        if mask is not None:
            mask = see_prefixes(mask, added)[:, None]
        return query, key, value, mask, self.causal and mask is None

    def _attend(self, qkv, mask, tuner):
        query, key, value, mask, causal = self._attended(qkv, mask, tuner)
        x = attention(query, key, value, mask, causal)
        return ops.reshape(x, (-1, qkv.shape[1], self.dim))

    def compute_output_shape(
        self, tokens_shape, geometry_shape=None, attention_mask_shape=None
    ):
        batch, tokens, dim = tokens_shape
        added = 0 if self.tuner is None else self.tuner.tokens_added
        return (batch, tokens + added, dim)


class _How(NamedTuple):
    """Who takes part when a block runs, and who watches."""

    tuner: object = NO_TUNER
    contrast: object = None
    training: bool = False
    # Named tensors from inside the block, for plots; see `watched`.
    seen: dict | None = None

    def note(self, name, x):
        if self.seen is not None:
            self.seen[name] = x
        return x


def _remade(layer, make, use):
    """`make` and then `use`, without keeping what `make` returns.

    The backward pass keeps the input and runs `make` again. On torch, what
    `use` itself needs is kept; on the other backends `use` runs again too.

    Args:
        layer: built `keras.layers.Layer`, with what both need.
        make: from a tensor to one, without anything random.
        use: from that tensor to a nest of tensors and None.

    Returns:
        A function from a tensor to what `make` and `use` return.
    """
    fast = accelerators.find("remade")
    if fast is not None:
        return fast(make, use)

    def both(x):
        made = make(x)
        return made, use(made)

    return recomputed_layer(layer, both)


def _with_prefix(prefix, x):
    """Prefixes `(prefixes, dim)` in front of keys, or values, of tokens."""
    count, rest = prefix.shape[0], x.shape[2:]
    prefix = ops.reshape(ops.cast(prefix, x.dtype), (1, count, *rest))
    prefix = ops.broadcast_to(prefix, (ops.shape(x)[0], count, *rest))
    return ops.concatenate((prefix, x), axis=1)
