"""The geometry-aware adapter of Point-PEFT, and what it knows of a cloud."""

import keras
from keras import ops

from keras_pointpeft.layers.batch_norm import BatchNorm
from keras_pointpeft.layers.drop_path import DropPath
from keras_pointpeft.layers.linear import Linear
from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import knn
from keras_pointpeft.ops import squared_distances
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

    config_names = ("dim", "num_heads")

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
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=policy, name="norm"
        )
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
        x = ops.dot_product_attention(
            qkv[:, :, 0],
            qkv[:, :, 1],
            qkv[:, :, 2],
            scale=self.dim**-0.5,
            flash_attention=False,
        )
        return self.proj(ops.reshape(x, (-1, neighbors, self.dim)))

    def compute_output_shape(self, tokens_shape, rows_shape):
        return (*rows_shape, tokens_shape[-1])


@serializable
class TokenNeighborhoods(Configurable, keras.layers.Layer):
    """Which patches are neighbours, computed once per cloud.

    A part of the patch centres is chosen by farthest point sampling; around
    each, its nearest centres make a neighbourhood. Each centre takes from all
    of the chosen ones, weighted by inverse squared distance.

    Also the home of what the adapters of all blocks share: the
    `LocalAttention`, and in reference mode the prompts' coordinates.

    Args:
        num_groups: int. Number of neighbourhoods.
        group_size: int. Patches per neighbourhood, the chosen one included.
        num_patches: int. Number of patch centres.
        width: int. Width of the tokens.
        attention_dim: int. See `LocalAttention`.
        num_heads: int. See `LocalAttention`.
        epsilon: float. Added to squared distances.
        num_prompts: int. Number of learned coordinates, which join the points
            when patch centres are chosen anew, as in the published code. 0,
            the default, leaves them out.
        prompted: bool. Whether the points are a second choice of centres
            already, such as the stage before has made with its prompts.
        skip_origin: bool. See `keras_pointpeft.ops.farthest_point_sample`.

    Input shape:
        points `(batch, points, 3)` and centres `(batch, num_patches, 3)`.

    Output shape:
        dict of `"neighbors"` `(batch, num_groups, group_size)` and
        `"chosen"` `(batch, num_groups)`, indices of patches, and
        `"propagation"` `(batch, num_patches, num_groups)`, weights whose rows
        add up to 1. With `num_prompts` or `prompted`, the same again with
        the prefix `"prompted_"`, and `"prompted_centers"`
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
        # Coordinates stay float32 under every dtype policy.
        super().__init__(autocast=False, **kwargs)
        if not 0 < num_groups <= num_patches or group_size > num_patches:
            raise ValueError(
                "Neighbourhoods of patches need at least as many patches as "
                "there are neighbourhoods, and patches in each. Received: "
                f"num_groups={num_groups}, group_size={group_size}, "
                f"num_patches={num_patches}"
            )
        self.num_groups = num_groups
        self.group_size = group_size
        self.num_patches = num_patches
        self.attention_dim = attention_dim
        self.num_heads = num_heads
        self.epsilon = epsilon
        self.width = width
        self.num_prompts = num_prompts
        self.skip_origin = skip_origin
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

    def call(self, points, centers):
        parts = self._around(centers)
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
        prompted = {"centers": moved, **self._around(moved)}
        return parts | {f"prompted_{k}": v for k, v in prompted.items()}

    def _around(self, centers):
        chosen = farthest_point_sample(
            centers, self.num_groups, skip_origin=self.skip_origin
        )
        positions = gather(centers, chosen)
        neighbors = knn(positions, centers, self.group_size)
        weights = 1.0 / (squared_distances(centers, positions) + self.epsilon)
        weights = weights / ops.sum(weights, axis=-1, keepdims=True)
        return {
            "neighbors": neighbors,
            "chosen": chosen,
            "propagation": weights,
        }

    def compute_output_spec(self, points, centers):
        batch = centers.shape[0]
        groups, patches = self.num_groups, self.num_patches
        parts = {
            "neighbors": ((batch, groups, self.group_size), "int32"),
            "chosen": ((batch, groups), "int32"),
            "propagation": ((batch, patches, groups), "float32"),
        }
        if self.num_prompts or self.prompted:
            again = {f"prompted_{name}": part for name, part in parts.items()}
            centers = ((batch, patches, 3), "float32")
            parts = parts | again | {"prompted_centers": centers}
        return {name: keras.KerasTensor(*part) for name, part in parts.items()}


@serializable
class GeometryAwareAdapter(Configurable, keras.layers.Layer):
    """Lets patch tokens exchange features with their neighbours in space.

    Section 3.3 of [Point-PEFT](https://arxiv.org/abs/2310.03059): attention
    inside each neighbourhood of tokens, the maximum over it, a norm and
    GELU; the results flow back to all tokens, weighted by inverse squared
    distance.

    Args:
        center_scale: float. Share of a neighbourhood's own central token in
            its feature.
        propagation_scale: float. Share of the neighbourhoods' features in the
            tokens.
        pooling: `"max"` or `"max+mean"` (their sum), over a neighbourhood.
        drop_path_rate: float. Stochastic depth of the attention.

    Input shape:
        tokens `(batch, patches, dim)`, and see `TokenNeighborhoods`.

    Output shape:
        `(batch, patches, dim)`.
    """

    config_names = (
        "center_scale",
        "propagation_scale",
        "pooling",
        "drop_path_rate",
    )

    def __init__(
        self,
        center_scale=0.3,
        propagation_scale=0.3,
        pooling="max",
        drop_path_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if pooling not in ("max", "max+mean"):
            raise ValueError(
                "`pooling` must be 'max' or 'max+mean'. "
                f"Received: pooling={pooling!r}"
            )
        self.center_scale = center_scale
        self.propagation_scale = propagation_scale
        self.pooling = pooling
        self.drop_path_rate = drop_path_rate
        self.drop_path = DropPath(
            drop_path_rate, dtype=self.dtype_policy, name="drop_path"
        )
        self.norm = BatchNorm(dtype=self.dtype_policy, name="norm")

    def build(self, tokens_shape):
        self.norm.build(tokens_shape)

    def call(
        self,
        tokens,
        neighbors,
        chosen,
        propagation,
        rows=None,
        attention=None,
        stride=None,
        training=False,
    ):
        """Applies the adapter.

        Args:
            tokens: `(batch, patches, dim)`.
            neighbors, chosen, propagation: see `TokenNeighborhoods`.
            rows: the sequence `(batch, rows, dim)` that the indices point
                into; the tokens by default.
            attention: the `LocalAttention`.
            stride: how many rows of it the indices take a sample to have; as
                many as it has by default. (The published code errs here.)
            training: bool.
        """
        rows = tokens if rows is None else rows
        batch, count, dim = ops.shape(rows)
        stride = count if stride is None else stride
        start = ops.arange(batch, dtype="int32") * stride
        rows = ops.reshape(rows, (-1, dim))
        neighbors = ops.reshape(
            neighbors + start[:, None, None], (-1, neighbors.shape[-1])
        )
        update = attention(rows, neighbors)
        update = self.drop_path(update, training=training)
        pooled = self._pool(rows, neighbors, update)
        groups = chosen.shape[1]
        pooled = ops.reshape(pooled, (-1, groups, dim))
        pooled = self.norm(pooled, training=training)
        pooled = ops.gelu(pooled, approximate=False)
        central = ops.take(
            rows, ops.reshape(chosen + start[:, None], (-1,)), axis=0
        )
        central = ops.reshape(central, (-1, groups, dim))
        pooled = pooled + self.center_scale * central
        weights = ops.cast(propagation, pooled.dtype)
        return tokens + self.propagation_scale * ops.matmul(weights, pooled)

    def _pool(self, rows, neighbors, update):
        """Pools `rows[neighbors] + update` over each neighbourhood.

        The maximum's gradient goes to one row per channel: it is found
        without gradient and then picked, so that nothing of the size of all
        neighbourhoods is kept for the backward pass.
        """
        flat = ops.reshape(neighbors, (-1,))
        shape = (-1, *update.shape[1:])
        full = ops.take(ops.stop_gradient(rows), flat, axis=0)
        full = ops.reshape(full, shape)
        full = full + ops.stop_gradient(update)
        winner = ops.argmax(full, axis=1)
        row = ops.take_along_axis(neighbors, winner, axis=1)
        neighborhoods = ops.arange(ops.shape(winner)[0], dtype="int32")
        place = neighborhoods[:, None] * update.shape[1] + winner
        pooled = _pick(rows, row) + _pick(update, place)
        if self.pooling == "max":
            return pooled
        everyone = ops.reshape(ops.take(rows, flat, axis=0), shape)
        return pooled + ops.mean(everyone + update, axis=1)

    def compute_output_shape(self, tokens_shape, **_):
        return tokens_shape


def _pick(values, row):
    """`values[row[i, c], c]` of values `(..., channels)` with rows in front.

    By one flat index: for its gradient a backend keeps the index alone.
    """
    width = values.shape[-1]
    index = row * width + ops.arange(width, dtype="int32")
    return ops.take(ops.reshape(values, (-1,)), index, axis=0)
