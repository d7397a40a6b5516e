"""Patches of points: cut from a cloud, turned into tokens, and their places."""

import math

import keras
import numpy as np
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import group
from keras_pointpeft.ops.arithmetic import affine
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import in_parts
from keras_pointpeft.ops.arithmetic import largest
from keras_pointpeft.ops.arithmetic import linear
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import positive_integers
from keras_pointpeft.serialization import serializable


def check_encoder_dims(name, dims):
    """Three or four positive widths, as a tuple; see `PatchEncoder`."""
    dims = positive_integers(name, dims)
    if len(dims) not in (3, 4):
        raise ValueError(
            f"`{name}` must be three or four widths. Received: {name}={dims}"
        )
    return dims


@serializable
class PointPatches(Configurable, keras.layers.Layer):
    """Cuts a point cloud into overlapping local patches.

    Patch centres are found by farthest point sampling, a patch is its
    centre's nearest neighbours in coordinates relative to the centre
    ([Point-MAE](https://arxiv.org/abs/2203.06604), section 3.1). Always
    computed in float32.

    Args:
        num_groups: int. Number of patches.
        group_size: int. Points per patch, the centre included.
        skip_origin: bool. Whether to leave out points within `sqrt(1e-3)` of
            the origin as centres, as the published sampling kernel does.

    Input shape:
        `(batch, points, 3)`.

    Output shape:
        dict of `"centers"` `(batch, num_groups, 3)`, `"neighborhoods"`
        `(batch, num_groups, group_size, 3)` and `"neighbors"` (indices into
        the points) `(batch, num_groups, group_size)`.

    Raises:
        ValueError: if points do not have 3 coordinates, a cloud has fewer
            points than groups or points per patch, or these are no positive
            integers.

    Example:
    ```python
    cut = keras_pointpeft.layers.PointPatches(num_groups=32, group_size=16)
    patches = cut(np.random.rand(2, 512, 3))
    neighborhoods = patches["neighborhoods"]  # (2, 32, 16, 3)
    ```
    """

    def __init__(self, num_groups, group_size, skip_origin=False, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.num_groups = positive_integer("num_groups", num_groups)
        self.group_size = positive_integer("group_size", group_size)
        self.skip_origin = skip_origin

    def build(self, input_shape):
        if input_shape[-1] != 3:
            raise ValueError(
                "Points must have 3 coordinates, as `(batch, points, 3)`. "
                f"Received: shape {tuple(input_shape)}"
            )
        points = input_shape[1]
        if points is not None and points < max(
            self.num_groups, self.group_size
        ):
            raise ValueError(
                f"A cloud of {points} points is too small for "
                f"{self.num_groups} groups of {self.group_size} points. "
                f"Received: shape {tuple(input_shape)}"
            )

    def call(self, points):
        points = ops.cast(points, "float32")
        index = farthest_point_sample(
            points, self.num_groups, skip_origin=self.skip_origin
        )
        centers = gather(points, index)
        neighbors, neighborhoods = group(points, centers, self.group_size)
        return {
            "centers": centers,
            "neighborhoods": neighborhoods,
            "neighbors": neighbors,
        }

    def compute_output_spec(self, points):
        batch, groups, size = points.shape[0], self.num_groups, self.group_size
        return {
            "centers": keras.KerasTensor((batch, groups, 3)),
            "neighborhoods": keras.KerasTensor((batch, groups, size, 3)),
            "neighbors": keras.KerasTensor((batch, groups, size), "int32"),
        }


@serializable
class PatchEncoder(Configurable, keras.layers.Layer):
    """Turns each patch of points into a token: the mini-PointNet.

    Two shared layers, the maximum over the patch beside each point, two more
    shared layers, and the maximum again
    ([Point-BERT](https://arxiv.org/abs/2111.14819), section 3.1).

    The maximum of a patch is one vector for all of its points, so its share
    of the third layer is computed once per patch, not once per point.

    Args:
        dim: int. Width of the tokens.
        hidden_dims: tuple of three or four ints. Widths of the inner layers.
            Four make it one layer deeper, before the first maximum.
        frozen_statistics: bool. Whether batch normalization keeps to its
            moving statistics in training.
        joined: bool. Whether that third layer sees each point's two halves
            in one product after all. It costs up to twice the time of the
            layer, which matters little for patches of tokens, and rounds as
            the published code does.

    Input shape:
        `(batch, groups, points, channels)`; and optionally what is added to
        the first layer, `(batch, groups, points, hidden_dims[0])`, such as
        that of `PatchChannels`.

    Output shape:
        `(batch, groups, dim)`.

    Raises:
        ValueError: if `hidden_dims` are not three or four positive integers.

    Example:
    ```python
    encode = keras_pointpeft.layers.PatchEncoder(96, hidden_dims=(32, 64, 128))
    tokens = encode(np.random.rand(2, 32, 16, 3))  # (2, 32, 96)
    ```
    """

    def __init__(
        self,
        dim,
        hidden_dims=(128, 256, 512),
        frozen_statistics=False,
        joined=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dim = dim
        self.hidden_dims = check_encoder_dims("hidden_dims", hidden_dims)
        self.frozen_statistics = frozen_statistics
        self.joined = joined

        def conv(units, name):
            return Linear(units, dtype=self.dtype_policy, name=name)

        def norm(name):
            return BatchNorm(
                frozen_statistics=frozen_statistics,
                dtype=self.dtype_policy,
                name=name,
            )

        *deeper, first, second, third = self.hidden_dims
        if deeper:
            self.conv0 = conv(deeper[0], "conv0")
            self.norm0 = norm("norm0")
        self.conv1 = conv(first, "conv1")
        self.norm1 = norm("norm1")
        self.conv2 = conv(second, "conv2")
        self.conv3 = conv(third, "conv3")
        self.norm2 = norm("norm2")
        self.conv4 = conv(dim, "conv4")

    def build(self, input_shape):
        *deeper, first, second, third = self.hidden_dims
        channels = input_shape[-1]
        if deeper:
            self.conv0.build((None, None, None, channels))
            self.norm0.build((None, None, None, deeper[0]))
            channels = deeper[0]
        self.conv1.build((None, None, None, channels))
        self.norm1.build((None, None, None, first))
        self.conv2.build((None, None, None, first))
        self.conv3.build((None, None, None, 2 * second))
        self.norm2.build((None, None, None, third))
        self.conv4.build((None, None, None, third))

    def call(self, neighborhoods, beside=None, training=False):
        # Once, for all parts.
        pairs = [(self.conv1, self.norm1), (self.conv3, self.norm2)]
        if len(self.hidden_dims) == 4:
            pairs.insert(0, (self.conv0, self.norm0))
        layers = [self._folded(*pair) for pair in pairs]
        if beside is not None or (training and not self.frozen_statistics):
            return self._encode(neighborhoods, layers, training, beside)
        # Without the batch's statistics, no cloud depends on another.
        return in_parts(
            lambda x: self._encode(x, layers, training), neighborhoods
        )

    def _encode(self, x, layers, training, beside=None):
        *deeper, first, second = layers
        for layer in (*deeper, first):
            x = self._layer(x, *layer, training, beside=beside)
            beside = None
        x = self.conv2(x)
        whole = ops.expand_dims(largest(x, axis=2), axis=2)
        if self.joined:
            whole = ops.broadcast_to(whole, ops.shape(x))
            x, whole = ops.concatenate((whole, x), axis=-1), None
        x = self._layer(x, *second, training, whole)
        return largest(self.conv4(x), axis=2)

    def _folded(self, conv, norm):
        """Kernel and bias of a layer, and the norm behind it.

        With frozen statistics the norm is part of the product, so that it
        takes no pass over the points, and its scale stands in its place.
        """
        kernel = ops.convert_to_tensor(conv.kernel)
        bias = ops.convert_to_tensor(conv.bias)
        if not self.frozen_statistics:
            return kernel, bias, norm
        scale, shift = norm.scale_and_shift()
        scale = ops.cast(scale, kernel.dtype)
        return kernel * scale, affine(bias, scale, shift), scale

    def _layer(self, x, kernel, bias, norm, training, whole=None, beside=None):
        """A layer on `[whole | x]`, or `x` and what is added, norm, ReLU."""
        if beside is not None and self.frozen_statistics:
            beside = beside * norm
        if whole is None:
            x = linear(x, kernel, bias)
        else:
            width = whole.shape[-1]
            x = linear(x, kernel[width:]) + linear(whole, kernel[:width], bias)
        if beside is not None:
            x = x + beside
        if not self.frozen_statistics:
            x = norm(x, training=training)
        return ops.relu(x)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], self.dim)


@serializable
class PatchChannels(Configurable, keras.layers.Layer):
    """What points have beside their place, for the patch encoder.

    Colour, normals or intensity of each point, times a kernel of its own, are
    added to what the encoder's first layer makes of the coordinates. The
    kernel starts at zero: a pre-trained backbone begins as it is without, and
    the layer learns what the channels are worth.

    Args:
        units: int. Width of the encoder's first layer.

    Input shape:
        `(batch, points, channels)`, and the patches' indices into the points
        `(batch, groups, points of a patch)`.

    Output shape:
        `(batch, groups, points of a patch, units)`.

    Example:
    ```python
    channels = keras_pointpeft.layers.PatchChannels(units=128)
    neighbors = np.zeros((2, 32, 16), "int32")
    added = channels(np.random.rand(2, 512, 3), neighbors)
    added.shape  # (2, 32, 16, 128)
    ```
    """

    config_names = ("units",)

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer="zeros",
            name="kernel",
        )

    def call(self, channels, neighbors):
        channels = gather(channels, neighbors)
        return ops.matmul(channels, ops.convert_to_tensor(self.kernel))

    def compute_output_spec(self, channels, neighbors):
        return keras.KerasTensor(
            (*neighbors.shape, self.units), self.compute_dtype
        )


@serializable
class PositionMLP(Configurable, keras.layers.Layer):
    """Embeds patch centres with two linear layers and an exact GELU.

    Args:
        dim: int. Width of the embedding.
        hidden_dim: int. Width of the inner layer.

    Input shape:
        `(batch, groups, 3)`.

    Output shape:
        `(batch, groups, dim)`.

    Example:
    ```python
    embed = keras_pointpeft.layers.PositionMLP(dim=96)
    positions = embed(np.random.rand(2, 32, 3))  # (2, 32, 96)
    ```
    """

    def __init__(self, dim, hidden_dim=128, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.hidden_dim = hidden_dim
        policy = self.dtype_policy
        self.fc1 = Linear(hidden_dim, dtype=policy, name="fc1")
        self.fc2 = Linear(dim, dtype=policy, name="fc2")

    def build(self, input_shape):
        self.fc1.build(input_shape)
        self.fc2.build((None, None, self.hidden_dim))

    def call(self, centers):
        hidden = gelu(self.fc1(centers))
        return self.fc2(hidden)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dim)


@serializable
class CodedPositionMLP(PositionMLP):
    """Embeds a fixed code of patch centres with two linear layers.

    The code of [PCP-MAE](https://arxiv.org/abs/2408.08753): every axis has a
    third of the channels, first `sin(x / 10000^(j/m))` for `j` from 0 to
    `m - 1`, then their cosines, where `m` is a sixth of the channels. It is
    computed in float32.

    Args:
        dim: int, divisible by 6. Width of the code and of the embedding.

    Input shape:
        `(batch, groups, 3)`.

    Output shape:
        `(batch, groups, dim)`.

    Raises:
        ValueError: if `dim` is not divisible by 6.

    Example:
    ```python
    layer = keras_pointpeft.layers.CodedPositionMLP(24)
    layer(np.random.rand(2, 8, 3).astype("float32")).shape  # (2, 8, 24)
    ```
    """

    config_names = ("dim",)

    def __init__(self, dim, **kwargs):
        super().__init__(dim, dim, autocast=False, **kwargs)
        if dim % 6:
            raise ValueError(
                "Three axes with sines and cosines share the channels: `dim` "
                f"must be divisible by 6. Received: dim={dim}"
            )

    def build(self, input_shape):
        super().build((None, None, self.dim))

    def code(self, centers):
        """The fixed code, `(batch, groups, dim)` in float32."""
        waves = self.dim // 6
        rates = 10000.0 ** (-np.arange(waves, dtype="float32") / waves)
        rates = ops.convert_to_tensor(rates)
        angles = ops.cast(centers, "float32")[..., None] * rates
        parts = ops.concatenate((ops.sin(angles), ops.cos(angles)), axis=-1)
        return ops.reshape(parts, (-1, centers.shape[1], self.dim))

    def embed(self, code):
        """What the linear layers make of a code."""
        return super().call(ops.cast(code, self.compute_dtype))

    def call(self, centers):
        return self.embed(self.code(centers))


@serializable
class SinePosition(Configurable, keras.layers.Layer):
    """Embeds patch centres with sine and cosine, without parameters.

    Every axis has an even share of the channels, which alternate between
    `sin(2 pi x)` and `cos(2 pi x)`; zeros fill the rest. This is the
    published code of [PointGPT](https://arxiv.org/abs/2305.11487), whose
    temperature of 1 gives all channels the same frequency.

    Args:
        dim: int. Width of the embedding.

    Input shape:
        `(batch, groups, 3)`.

    Output shape:
        `(batch, groups, dim)`.

    Example:
    ```python
    embed = keras_pointpeft.layers.SinePosition(dim=96)
    positions = embed(np.random.rand(2, 32, 3))  # (2, 32, 96)
    ```
    """

    def __init__(self, dim, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.dim = dim

    def build(self, input_shape):
        self.built = True

    def call(self, centers):
        angle = ops.cast(centers, "float32") * (2.0 * math.pi)
        pair = ops.stack((ops.sin(angle), ops.cos(angle)), axis=-1)
        pairs = self.dim // 3 // 2
        waves = ops.tile(pair, (1, 1, 1, pairs))
        waves = ops.reshape(waves, (-1, centers.shape[1], 6 * pairs))
        rest = self.dim - 6 * pairs
        waves = ops.pad(waves, ((0, 0), (0, 0), (0, rest)))
        return ops.cast(waves, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dim)
