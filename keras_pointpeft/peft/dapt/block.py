"""DAPT in one block: its dynamic adapter and its internal prompt."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.basic import part_call
from keras_pointpeft.layers.tuner import BLOCK_SITES
from keras_pointpeft.ops.arithmetic import dynamic_adapter
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import pooled
from keras_pointpeft.ops.arithmetic import relu
from keras_pointpeft.peft.parts import FeatureTransform
from keras_pointpeft.peft.parts import SiteTransforms
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class DynamicAdapter(Configurable, keras.layers.Layer):
    """A bottleneck adapter that gives every token its own scale.

    `scale * up(dropout(gelu(down(norm(x)))))` with the scale
    `relu(norm(x) @ w + b)`, one number per token (section 3.2 of the paper).
    The up-projection starts at zero, and so does the adapter's output.
    Without the scale (`dynamic=False`) all tokens get the same, as of any
    bottleneck adapter.

    Tokens of a pre-trained backbone are much alike, so that their scales
    have one sign: with `w` drawn at random, about every third adapter starts
    at 0 for all tokens, and a step of Adam moves all scales of an adapter
    together, by the learning rate times the sum of `|norm(x)|`. As published,
    an adapter at 0 gets no gradient and stays there.

    Args:
        rank: int. Width of the bottleneck.
        dropout: float. Dropout rate inside the bottleneck.
        scale_start: `"random"` for `w` drawn at random and `b` of 0, as
            published, or `"one"` for `w` of 0 and `b` of 1: every token's
            scale then starts at 1.
        scale_leak: float, from 0, as published, to 1. The part of the
            gradient that a scale of 0 lets through. With more than 0, an
            adapter whose scales are all 0 is still told to open. What is
            computed does not depend on it.
        scale_step: float, more than 0 and at most 1, as published. `w` and
            `b` are kept divided by it, so that a step of Adam, which is as
            long for every weight, moves the scale by this part of it.
            Published files, which have them as they are, are read and
            written with 1 alone.
        dynamic: bool. Whether tokens have a scale at all.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Raises:
        ValueError: for an unknown `scale_start`, or a `scale_leak` or
            `scale_step` out of its range.

    Example:
    ```python
    adapter = keras_pointpeft.peft.DynamicAdapter(rank=64)
    added = adapter(np.random.rand(2, 33, 96))  # to the tokens
    ```
    """

    def __init__(
        self,
        rank=64,
        dropout=0.0,
        scale_start="random",
        scale_leak=0.0,
        scale_step=1.0,
        dynamic=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.rank = rank
        self.dropout = dropout
        check_scale(scale_start, scale_leak, scale_step, dynamic)
        self.scale_start = scale_start
        self.scale_leak = scale_leak
        self.scale_step = scale_step
        self.dynamic = dynamic
        policy = self.dtype_policy
        self.norm = LayerNormalization(dtype=policy, name="norm")
        drawn = keras.initializers.VarianceScaling(
            1 / 3 / scale_step**2, "fan_in", "uniform"
        )
        one = keras.initializers.Constant(1 / scale_step)
        start = {"random": (drawn, "zeros"), "one": ("zeros", one)}
        self.scale = None
        if dynamic:
            self.scale = Linear(
                1, *start[scale_start], dtype=policy, name="scale"
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
            if layer is not None:
                layer.build((None, None, dim))
        for layer in (self.drop, self.up):
            layer.build((None, None, self.rank))

    def token_scale(self, normed):
        """The dynamic scale `(batch, tokens, 1)` of normalized tokens."""
        scale = self.scale_step * part_call(self.scale, normed)
        return relu(scale, self.scale_leak)

    def call(self, tokens, training=False):
        if not self.dynamic:
            hidden = gelu(self.down(self.norm(tokens)))
            return self.up(self.drop(hidden, training=training))
        gate, rate = None, 0.0
        if training and self.dropout:
            shape = (*ops.shape(tokens)[:-1], self.rank)
            gate, rate = self.drop.gate(shape, tokens), self.dropout

        def values(layer):
            both = (layer.kernel, layer.bias)
            return tuple(ops.convert_to_tensor(x) for x in both)

        norm, scale = self.norm, values(self.scale)
        if self.scale_step != 1:
            scale = tuple(self.scale_step * x for x in scale)
        return dynamic_adapter(
            tokens,
            (norm.gamma.value, norm.beta.value, norm.epsilon),
            scale,
            values(self.down),
            values(self.up),
            gate,
            rate,
            self.scale_leak,
        )

    def compute_output_shape(self, input_shape):
        return input_shape


def check_scale(start, leak, step, dynamic=True):
    """Raises `ValueError` for what is no argument of an adapter's scale."""
    if start not in ("random", "one"):
        raise ValueError(
            "`scale_start` must be 'random' or 'one'. "
            f"Received: scale_start={start!r}"
        )
    if isinstance(leak, bool) or not 0 <= leak <= 1:
        raise ValueError(
            "`scale_leak` must be a number from 0 to 1. "
            f"Received: scale_leak={leak!r}"
        )
    if isinstance(step, bool) or not 0 < step <= 1:
        raise ValueError(
            "`scale_step` must be a number above 0 and up to 1. "
            f"Received: scale_step={step!r}"
        )
    if not dynamic and (start, leak, step) != ("random", 0, 1):
        raise ValueError(
            "Without a dynamic scale there is nothing that `scale_start`, "
            "`scale_leak` or `scale_step` could act on. "
            f"Received: scale_start={start!r}, scale_leak={leak!r}, "
            f"scale_step={step!r}"
        )


@serializable
class InternalPrompt(Configurable, keras.layers.Layer):
    """Inserts a prompt made from the adapter's output into the sequence.

    The prompt is a feature transform of the mean over all tokens of
    `gelu(adapter output)` (section 3.3 of the paper). It goes right behind
    the class tokens and stays for all later blocks.

    Args:
        num_class_tokens: int. How many tokens stay in front of it.

    Input shape:
        two tensors `(batch, tokens, dim)`: tokens and the adapter's output.

    Output shape:
        `(batch, tokens + 1, dim)`.

    Example:
    ```python
    insert = keras_pointpeft.peft.InternalPrompt(num_class_tokens=1)
    adapter = keras_pointpeft.peft.DynamicAdapter(rank=8)
    tokens = np.random.rand(2, 33, 96)
    tokens = insert(tokens, adapter(tokens))  # (2, 34, 96)
    ```
    """

    def __init__(self, num_class_tokens=1, **kwargs):
        super().__init__(**kwargs)
        self.num_class_tokens = num_class_tokens
        self.transform = FeatureTransform(
            dtype=self.dtype_policy, name="transform"
        )

    def build(self, tokens_shape, adapted_shape=None):
        self.transform.build((None, None, tokens_shape[-1]))

    def call(self, tokens, adapted):
        prompt = pooled(adapted, *self.transform.values())
        return insert_behind(tokens, prompt, self.num_class_tokens)

    def compute_output_shape(self, tokens_shape, adapted_shape=None):
        batch, tokens, dim = tokens_shape
        return (batch, tokens + 1, dim)


@serializable
class DAPTTuner(SiteTransforms):
    """DAPT inside one block: the transforms, the adapter and the prompt."""

    config_names = (
        "mlp_ratio",
        "rank",
        "dropout",
        "num_class_tokens",
        "sites",
        "mlp_reads",
        "scale_start",
        "scale_leak",
        "scale_step",
        "dynamic_scale",
        "internal_prompts",
    )

    def __init__(
        self,
        mlp_ratio,
        rank,
        dropout,
        num_class_tokens,
        sites=BLOCK_SITES,
        mlp_reads="normalized",
        scale_start="random",
        scale_leak=0.0,
        scale_step=1.0,
        dynamic_scale=True,
        internal_prompts=True,
        **kwargs,
    ):
        super().__init__(mlp_ratio, sites, **kwargs)
        policy = self.dtype_policy
        self.rank = rank
        self.dropout = dropout
        self.num_class_tokens = num_class_tokens
        self.mlp_reads = mlp_reads
        self.scale_start = scale_start
        self.scale_leak = scale_leak
        self.scale_step = scale_step
        self.dynamic_scale = dynamic_scale
        self.internal_prompts = internal_prompts
        self.tokens_added = int(internal_prompts)
        self.adapter = DynamicAdapter(
            rank,
            dropout,
            scale_start,
            scale_leak,
            scale_step,
            dynamic_scale,
            dtype=policy,
            name="adapter",
        )
        if internal_prompts:
            self.prompt = InternalPrompt(
                num_class_tokens, dtype=policy, name="prompt"
            )

    def build(self, tokens_shape):
        super().build(tokens_shape)
        self.adapter.build(tokens_shape)
        if self.internal_prompts:
            self.prompt.build(tokens_shape)

    def beside(self, place, x, geometry, training):
        if place != "mlp":
            return None
        return part_call(self.adapter, x, training=training)

    @property
    def token_scale(self):
        return self._token_scale if self.dynamic_scale else None

    def _token_scale(self, x):
        return self.adapter.token_scale(self.adapter.norm(x))

    def leave(self, tokens, side, geometry, training):
        if not self.internal_prompts:
            return tokens
        return part_call(self.prompt, tokens, side)
