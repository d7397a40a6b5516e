"""What several methods add to the tokens of a block, or put between them.

A bottleneck of two layers, a low-rank update of one, a scale and a shift, and
prompts.
"""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.tuner import BLOCK_SITES
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.layers.tuner import site_widths
from keras_pointpeft.ops.arithmetic import affine
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def quick_gelu(x):
    """`x * sigmoid(1.702 x)`, a cheap approximation of GELU."""
    return x * ops.sigmoid(1.702 * x)


ACTIVATIONS = {
    "gelu": gelu,
    "quick_gelu": quick_gelu,
    "relu": ops.relu,
    "silu": ops.silu,
}


@serializable
class BottleneckAdapter(Configurable, keras.layers.Layer):
    """Down to a narrow width, an activation, dropout and up again.

    By default the adapter of [Point-PEFT](https://arxiv.org/abs/2310.03059).

    Args:
        rank: int. Width of the bottleneck.
        dropout: float. Dropout rate inside the bottleneck.
        residual: bool. Whether the input is added to the output.
        activation: `"quick_gelu"`, `"gelu"`, `"relu"` or `"silu"`.
        start: how it starts. `"xavier"`: Xavier-uniform kernels and biases
            next to 0, and so *not* with an output of 0; `"zero"`: with one;
            `"linear"`: as two of PyTorch's linear layers.
        units: optional int. Width of the output; the input's by default.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, units)`.

    Raises:
        ValueError: for an unknown `start`.

    Example:
    ```python
    adapter = keras_pointpeft.peft.BottleneckAdapter(rank=8, start="zero")
    added = adapter(np.random.rand(2, 32, 96))  # to the tokens
    ```
    """

    def __init__(
        self,
        rank,
        dropout=0.0,
        residual=False,
        activation="quick_gelu",
        start="xavier",
        units=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if start not in ("xavier", "zero", "linear"):
            raise ValueError(
                "`start` must be 'xavier', 'zero' or 'linear'. "
                f"Received: start={start!r}"
            )
        self.rank = rank
        self.dropout = dropout
        self.residual = residual
        self.activation = activation
        self.start = start
        self.units = units
        self.down = self._linear(rank, "down")
        self.drop = Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def _linear(self, units, name):
        if self.start == "xavier":
            start = (
                keras.initializers.GlorotUniform(),
                keras.initializers.RandomNormal(stddev=1e-6),
            )
        elif self.start == "zero" and name == "up":
            start = ("zeros", "zeros")
        else:
            start = (None, None)
        return Linear(units, *start, dtype=self.dtype_policy, name=name)

    def build(self, input_shape):
        dim = input_shape[-1]
        self.up = self._linear(self.units or dim, "up")
        self.down.build((None, None, dim))
        self.up.build((None, None, self.rank))

    def call(self, x, training=False):
        hidden = ACTIVATIONS[self.activation](self.down(x))
        y = self.up(self.drop(hidden, training=training))
        return x + y if self.residual else y

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units or input_shape[-1])


def mlp(rank, name, policy, units=None):
    """Two linear layers with a GELU between them."""
    return BottleneckAdapter(
        rank,
        activation="gelu",
        start="linear",
        units=units,
        dtype=policy,
        name=name,
    )


@serializable
class LowRankUpdate(Configurable, keras.layers.Layer):
    """What a low-rank matrix adds to a linear layer: `scale * x A B`.

    `B` starts at zero, and so does the update.

    Args:
        units: int. Width of the output.
        rank: int. Rank of the matrix.
        scale: float.
        dropout: float. Dropout rate of the input.

    Input shape:
        `(batch, tokens, inputs)`.

    Output shape:
        `(batch, tokens, units)`.

    Example:
    ```python
    update = keras_pointpeft.peft.LowRankUpdate(units=288, rank=4)
    added = update(np.random.rand(2, 33, 96))  # (2, 33, 288)
    ```
    """

    def __init__(self, units, rank=8, scale=1.0, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rank = rank
        self.scale = scale
        self.dropout = dropout
        policy = self.dtype_policy
        self.drop = Dropout(dropout, dtype=policy, name="drop")
        self.down = Linear(rank, use_bias=False, dtype=policy, name="down")
        self.up = Linear(
            units, "zeros", use_bias=False, dtype=policy, name="up"
        )

    def build(self, input_shape):
        self.down.build(input_shape)
        self.up.build((None, None, self.rank))

    def matrix(self):
        """The update as one matrix `(inputs, units)`."""
        return self.scale * keras.ops.matmul(self.down.kernel, self.up.kernel)

    def call(self, x, training=False):
        hidden = self.down(self.drop(x, training=training))
        return self.up(hidden) * self.scale

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


@serializable
class LoRATuner(Configurable, BlockTuner):
    """A `LowRankUpdate` beside some of the linear layers of one block."""

    def __init__(
        self, mlp_ratio, targets, rank, scale=1.0, dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.targets = tuple(targets)
        self.rank = rank
        self.scale = scale
        self.dropout = dropout

    def build(self, tokens_shape):
        widths = site_widths(tokens_shape[-1], self.mlp_ratio)
        for site in self.targets:
            inputs, units = widths[site]
            update = LowRankUpdate(
                units,
                self.rank,
                self.scale,
                self.dropout,
                dtype=self.dtype_policy,
                name=site,
            )
            setattr(self, f"{site}_update", update)
            update.build((None, None, inputs))

    def update_at(self, site):
        """The `LowRankUpdate` beside one of the layers."""
        return getattr(self, f"{site}_update")

    def beside(self, place, x, geometry, training):
        if place not in self.targets:
            return None
        return self.update_at(place)(x, training=training)

    def fold(self, site, kernel, bias):
        if site not in self.targets:
            return kernel, bias
        update = self.update_at(site).matrix()
        return kernel + keras.ops.convert_to_numpy(update), bias


# "patches" is after the patch encoder, "final" after the final norm.
SITES = ("patches", *BLOCK_SITES, "final")


@serializable
class FeatureTransform(Configurable, keras.layers.Layer):
    """Task-specific feature transform (TFTS): `x * gamma + beta` per channel.

    Section 3.3 of the paper; `gamma` starts at N(1, 0.02^2) and `beta` at
    N(0, 0.02^2).

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Example:
    ```python
    transform = keras_pointpeft.peft.FeatureTransform()
    tokens = transform(np.random.rand(2, 32, 96))
    ```
    """

    def build(self, input_shape):
        shape = (input_shape[-1],)
        normal = keras.initializers.RandomNormal
        self.gamma = self.add_weight(
            shape=shape, initializer=normal(1.0, 0.02), name="gamma"
        )
        self.beta = self.add_weight(
            shape=shape, initializer=normal(0.0, 0.02), name="beta"
        )

    def call(self, x):
        return affine(x, *self.values())

    def values(self):
        """`gamma` and `beta`, tensors `(dim,)`."""
        return self.gamma.value, self.beta.value

    def fold(self, kernel, bias):
        """Kernel and bias of the layer before with the transform in."""
        gamma = keras.ops.convert_to_numpy(self.gamma)
        return kernel * gamma, bias * gamma + keras.ops.convert_to_numpy(
            self.beta
        )

    def compute_output_shape(self, input_shape):
        return input_shape


@serializable
class SiteTransforms(Configurable, BlockTuner):
    """A `FeatureTransform` after some of the layers of one block.

    Args:
        mlp_ratio: float. Width of the block's MLP over that of its tokens.
        sites: tuple of strings, some of norm1, qkv, proj, norm2, fc1, fc2.
    """

    def __init__(self, mlp_ratio, sites=BLOCK_SITES, **kwargs):
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.sites = tuple(sites)
        for site in self.sites:
            transform = FeatureTransform(dtype=self.dtype_policy, name=site)
            setattr(self, f"{site}_transform", transform)

    def build(self, tokens_shape):
        widths = site_widths(tokens_shape[-1], self.mlp_ratio)
        for site in self.sites:
            self.transform_at(site).build((None, None, widths[site][1]))

    def transform_at(self, site):
        """The `FeatureTransform` at one of the sites."""
        return getattr(self, f"{site}_transform")

    def affine(self, site):
        return self.transform_at(site).values() if site in self.sites else None

    def fold(self, site, kernel, bias):
        if site not in self.sites:
            return kernel, bias
        return self.transform_at(site).fold(kernel, bias)


def block_sites(sites):
    """Those of the sites that lie inside a block."""
    return tuple(site for site in sites if site in BLOCK_SITES)


def insert_behind(tokens, prompts, first):
    """Puts prompts behind the first tokens of a sequence.

    Args:
        tokens: `(batch, tokens, dim)`.
        prompts: `(1 or batch, prompts, dim)`.
        first: int. How many tokens stay in front.

    Returns:
        `(batch, tokens + prompts, dim)`.
    """
    shape = (ops.shape(tokens)[0], *prompts.shape[1:])
    prompts = ops.broadcast_to(ops.cast(prompts, tokens.dtype), shape)
    if not first:
        return ops.concatenate((prompts, tokens), axis=1)
    front, rest = split_at(tokens, first)
    return ops.concatenate((front, prompts, rest), axis=1)


def remove_behind(tokens, count, first):
    """Takes `count` prompts behind the first tokens out again."""
    if not first:
        return tokens[:, count:]
    front, _, rest = split_at(tokens, first, first + count)
    return ops.concatenate((front, rest), axis=1)


def add_to_parts(tokens, first, count, to_prompts, to_patches):
    """Adds to prompts and patches what a layer each makes of them.

    Args:
        tokens: `(batch, tokens, dim)`: class tokens, prompts, patches.
        first: int. Number of class tokens.
        count: int. Number of prompts.
        to_prompts, to_patches: layers.

    Returns:
        `(batch, tokens, dim)`.
    """
    *front, prompts, patches = split_at(
        tokens, *((first,) if first else ()), first + count
    )
    prompts = prompts + to_prompts(prompts)
    parts = (*front, prompts, patches + to_patches(patches))
    return ops.concatenate(parts, axis=1)
