"""What methods make of the tokens near a token, in space or by their features.
"""

import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import DropPath
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import knn
from keras_pointpeft.ops import squared_distances
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import largest
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class PatchNeighborhoods(Configurable, keras.layers.Layer):
    """Which patches are neighbours, computed once per cloud.

    A part of the patch centres is chosen by farthest point sampling; around
    each, its nearest centres make a neighbourhood. Each centre takes from all
    of the chosen ones, weighted by inverse squared distance.

    Args:
        num_groups: int. Number of neighbourhoods.
        group_size: int. Patches per neighbourhood, the chosen one included.
        num_patches: int. Number of patch centres.
        epsilon: float. Added to squared distances.
        skip_origin: bool. See `keras_pointpeft.ops.farthest_point_sample`.

    Input shape:
        points `(batch, points, 3)` and centres `(batch, num_patches, 3)`.

    Output shape:
        dict of `"neighbors"` `(batch, num_groups, group_size)` and
        `"chosen"` `(batch, num_groups)`, indices of patches, and
        `"propagation"` `(batch, num_patches, num_groups)`, weights whose rows
        add up to 1.
    """

    gives = ("neighbors", "chosen", "propagation")

    def __init__(
        self,
        num_groups,
        group_size,
        num_patches,
        epsilon=1e-8,
        skip_origin=False,
        **kwargs,
    ):
        # Coordinates stay float32 under every dtype policy.
        super().__init__(autocast=False, **kwargs)
        if not all(0 < x <= num_patches for x in (num_groups, group_size)):
            raise ValueError(
                "Neighbourhoods of patches need at least as many patches as "
                "there are neighbourhoods, and patches in each, which must be "
                "one or more. Received: "
                f"num_groups={num_groups}, group_size={group_size}, "
                f"num_patches={num_patches}"
            )
        self.num_groups = num_groups
        self.group_size = group_size
        self.num_patches = num_patches
        self.epsilon = epsilon
        self.skip_origin = skip_origin

    def build(self, points_shape, centers_shape):
        self.built = True

    def call(self, points, centers):
        return self.around(centers)

    def around(self, centers):
        """The neighbourhoods of centres `(batch, num_patches, 3)`."""
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
        tokens `(batch, patches, dim)`, and what `PatchNeighborhoods` gives.

    Output shape:
        `(batch, patches, dim)`.

    Raises:
        ValueError: for an unknown `pooling`.

    Example:
    ```python
    method = keras_pointpeft.peft.PointPEFT(prior=False, prompt_blocks=2)
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=2, peft=method
    )
    tokens = backbone(points)["patch_tokens"]  # (batch, 32, 96)
    ```
    """

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
            neighbors, chosen, propagation: see `PatchNeighborhoods`.
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
        pooled = gelu(self.norm(pooled, training=training))
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
        winner = _first_maximum(full)
        neighborhoods = ops.arange(ops.shape(winner)[0], dtype="int32")
        place = neighborhoods[:, None] * update.shape[1] + winner
        row = ops.take(flat, place, axis=0)
        pooled = _pick(rows, row) + _pick(update, place)
        if self.pooling == "max":
            return pooled
        everyone = ops.reshape(ops.take(rows, flat, axis=0), shape)
        return pooled + ops.mean(everyone + update, axis=1)

    def compute_output_shape(self, tokens_shape, **_):
        return tokens_shape


def _first_maximum(x):
    """`ops.argmax(x, axis=1)`, many times faster on a CPU."""
    last = x.shape[1] - 1
    places = ops.arange(last + 1, dtype="int32")[:, None]
    below = x < ops.max(x, axis=1, keepdims=True)
    return ops.min(ops.where(below, last, places), axis=1)


def _pick(values, row):
    """`values[row[i, c], c]` of values `(..., channels)` with rows in front.

    By one flat index: for its gradient a backend keeps the index alone.
    """
    width = values.shape[-1]
    index = row * width + ops.arange(width, dtype="int32")
    return ops.take(ops.reshape(values, (-1,)), index, axis=0)


def nearest_features(x, count):
    """Indices of the nearest rows by their features, a row itself included.

    Args:
        x: `(batch, rows, dim)`.
        count: int.

    Returns:
        int32 `(batch, rows, count)`, without gradient.
    """
    x = ops.stop_gradient(ops.cast(x, "float32"))
    square = ops.sum(x * x, axis=-1)
    product = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    distance = square[:, :, None] + square[:, None, :] - 2.0 * product
    return ops.cast(ops.top_k(-distance, count)[1], "int32")


@serializable
class EdgeConv(Configurable, keras.layers.Layer):
    """A convolution over the graph of nearest features.

    [DGCNN](https://arxiv.org/abs/1801.07829): a linear layer on
    `[neighbor - token, token]`, BatchNorm and LeakyReLU, and the maximum over
    the neighbours. A linear layer of a difference is a difference of two
    products, so both halves are computed once per token and not per edge.

    Args:
        num_neighbors: int. Neighbours of a token, itself included; all
            tokens if there are fewer.
        dim: optional int. Width of the output, by default the input's.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        `(batch, tokens, dim)`.
    """

    renamed = {"neighbors": "num_neighbors"}

    def __init__(self, num_neighbors=20, dim=None, **kwargs):
        super().__init__(**kwargs)
        self.num_neighbors = num_neighbors
        self.dim = dim
        self.norm = BatchNorm(dtype=self.dtype_policy, name="norm")

    def build(self, tokens_shape):
        width = tokens_shape[-1]
        dim = self.dim or width
        self.linear = Linear(
            dim, use_bias=False, dtype=self.dtype_policy, name="linear"
        )
        self.linear.build((None, None, 2 * width))
        self.norm.build((None, None, dim))

    def call(self, tokens, training=False):
        width = tokens.shape[-1]
        count = min(self.num_neighbors, tokens.shape[1])
        index = nearest_features(tokens, count)
        kernel = ops.convert_to_tensor(self.linear.kernel)
        outer = ops.matmul(tokens, kernel[:width])
        inner = ops.matmul(tokens, kernel[width:]) - outer
        edges = gather(outer, index) + inner[:, :, None]
        edges = self.norm(edges, training=training)
        return largest(ops.leaky_relu(edges, 0.2), axis=2)

    def compute_output_shape(self, tokens_shape):
        return (*tokens_shape[:-1], self.dim or tokens_shape[-1])
