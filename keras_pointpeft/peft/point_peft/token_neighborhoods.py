"""What the adapters of all blocks share: who is near whom, and attention."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops.arithmetic import attention
from keras_pointpeft.peft.parts.neighborhoods import PatchNeighborhoods
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


@serializable
class TokenNeighborhoods(PatchNeighborhoods):
    """`PatchNeighborhoods`, and what the adapters of all blocks share.

    That is the `LocalAttention`, and in reference mode the prompts'
    coordinates.

    Args:
        num_groups: int. See `PatchNeighborhoods`.
        group_size: int. Likewise.
        num_patches: int. Likewise.
        width: int. Width of the tokens.
        attention_dim: int. See `LocalAttention`.
        num_heads: int. See `LocalAttention`.
        epsilon: float. See `PatchNeighborhoods`.
        num_prompts: int. Number of learned coordinates, which join the points
            when patch centres are chosen anew, as in the published code. 0,
            the default, leaves them out.
        prompted: bool. Whether the points are a second choice of centres
            already, such as the stage before has made with its prompts.
        skip_origin: bool. See `keras_pointpeft.ops.farthest_point_sample`.

    Input shape:
        points `(batch, points, 3)` and centres `(batch, num_patches, 3)`.

    Output shape:
        as of `PatchNeighborhoods`. With `num_prompts` or `prompted`, the same
        again with the prefix `"prompted_"`, and `"prompted_centers"`
        `(batch, num_patches, 3)`.
    """

    config_names = (
        "num_groups",
        "group_size",
        "num_patches",
        "attention_dim",
        "num_heads",
        "width",
        "epsilon",
        "num_prompts",
        "skip_origin",
        "prompted",
    )

    def __init__(
        self,
        num_groups,
        group_size,
        num_patches,
        width,
        attention_dim=18,
        num_heads=6,
        epsilon=1e-8,
        num_prompts=0,
        skip_origin=False,
        prompted=False,
        **kwargs,
    ):
        super().__init__(
            num_groups, group_size, num_patches, epsilon, skip_origin, **kwargs
        )
        self.attention_dim = attention_dim
        self.num_heads = num_heads
        self.width = width
        self.num_prompts = num_prompts
        self.prompted = prompted
        self.attention = LocalAttention(
            attention_dim,
            num_heads,
            dtype=self.dtype_policy,
            name="attention",
        )

    def build(self, points_shape, centers_shape):
        self.attention.build((None, self.width))
        if self.num_prompts:
            self.prompt_coordinates = self.add_weight(
                shape=(self.num_prompts, 3),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                autocast=False,
                dtype="float32",
                name="prompt_coordinates",
            )

    @property
    def reads(self):
        """The variables that what it returns depends on."""
        return [self.prompt_coordinates] if self.num_prompts else []

    def call(self, points, centers):
        parts = self.around(centers)
        if not (self.num_prompts or self.prompted):
            return parts
        points = ops.cast(points, "float32")
        if self.num_prompts:
            shape = (ops.shape(points)[0], self.num_prompts, 3)
            prompts = ops.broadcast_to(self.prompt_coordinates, shape)
            points = ops.concatenate((prompts, points), axis=1)
        index = farthest_point_sample(
            points, self.num_patches, skip_origin=self.skip_origin
        )
        moved = gather(points, index)
        prompted = {"centers": moved, **self.around(moved)}
        return parts | {f"prompted_{k}": v for k, v in prompted.items()}

    def compute_output_spec(self, points, centers):
        parts = super().compute_output_spec(points, centers)
        if not (self.num_prompts or self.prompted):
            return parts
        # New symbolic tensors, because Keras tells the outputs of a layer
        # apart by identity.
        again = super().compute_output_spec(points, centers)
        again = {f"prompted_{name}": part for name, part in again.items()}
        shape = (centers.shape[0], self.num_patches, 3)
        moved = keras.KerasTensor(shape, "float32")
        return parts | again | {"prompted_centers": moved}
