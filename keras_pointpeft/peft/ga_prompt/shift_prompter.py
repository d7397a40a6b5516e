"""Learned points and learned shifts of a cloud, of GAPrompt."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.feature_propagation import FeaturePropagation
from keras_pointpeft.layers.patches import PointPatches
from keras_pointpeft.ops import gather
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import largest
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

# Width of the code of a cloud's shape.
SHAPE_CODE = 16


def waves(points):
    """Coordinates, with sines and cosines of four octaves of them."""
    parts = [points]
    for octave in range(4):
        parts += [ops.sin(2.0**octave * points), ops.cos(2.0**octave * points)]
    return ops.concatenate(parts, axis=-1)


@serializable
class SetAbstraction(Configurable, keras.layers.Layer):
    """Linear layers on the points of each patch, and their maximum.

    [PointNet++](https://arxiv.org/abs/1706.02413), section 3.2, on features
    alone; each layer is followed by BatchNorm and ReLU.

    Args:
        dims: tuple of ints. Widths of the layers.

    Input shape:
        features `(batch, points, width)`; neighbors
        `(batch, groups, size)`, indices of points.

    Output shape:
        `(batch, groups, dims[-1])`.
    """

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        policy = self.dtype_policy
        numbers = range(1, len(self.dims) + 1)
        self.linears = [
            Linear(dim, dtype=policy, name=f"fc{i}")
            for i, dim in zip(numbers, self.dims)
        ]
        self.norms = [BatchNorm(dtype=policy, name=f"norm{i}") for i in numbers]

    def build(self, features_shape, neighbors_shape=None):
        width = features_shape[-1]
        for linear, norm in zip(self.linears, self.norms):
            linear.build((None, None, None, width))
            width = linear.units
            norm.build((None, None, None, width))

    def call(self, features, neighbors, training=False):
        x = gather(features, neighbors)
        for linear, norm in zip(self.linears, self.norms):
            x = ops.relu(norm(linear(x), training=training))
        return largest(x, axis=2)

    def compute_output_shape(self, features_shape, neighbors_shape):
        return (*neighbors_shape[:2], self.dims[-1])


@serializable
class ShiftPrompter(Configurable, keras.layers.Layer):
    """Shifts the points of a cloud, and adds learned points to it.

    [GAPrompt](https://arxiv.org/abs/2505.04119), section 3: a small PointNet++
    finds a shift for each point, in proportion to its coordinates, and a code
    of the cloud's shape.

    Args:
        num_groups: int. Patches of the first level; the second has half as
            many.
        group_size: int. Points per patch of the first level, likewise.
        num_points: int. Learned points.
        point_scale: float. They start uniformly within this of the origin.
        point_factor: float. The factor that the drawn points are multiplied
            by.
        perturbation: float. Weight of the shifts.
        skip_origin: bool. See `keras_pointpeft.ops.farthest_point_sample`.

    Input shape:
        `(batch, points, 3)`.

    Output shape:
        dict of `"points"` `(batch, points + num_points, 3)` and
        `"shape_code"` `(batch, 16)`.
    """

    def __init__(
        self,
        num_groups,
        group_size,
        num_points=5,
        point_scale=0.01,
        point_factor=5.0,
        perturbation=0.8,
        skip_origin=False,
        **kwargs,
    ):
        # Coordinates stay float32 under every dtype policy.
        super().__init__(autocast=False, **kwargs)
        self.num_groups = num_groups
        self.group_size = group_size
        self.num_points = num_points
        self.point_scale = point_scale
        self.point_factor = point_factor
        self.perturbation = perturbation
        self.skip_origin = skip_origin
        policy = self.dtype_policy
        sizes = (num_groups, group_size), (num_groups // 2, group_size // 2)
        self.cuts = [
            PointPatches(*size, skip_origin, name=f"cut{i}")
            for i, size in enumerate(sizes, start=1)
        ]

        def linear(units, name):
            return Linear(units, dtype=policy, name=name)

        def drop(rate, name):
            return Dropout(rate, dtype=policy, name=name)

        def carry(dims, name):
            return FeaturePropagation(dims, 32, 1e-4, dtype=policy, name=name)

        self.down1 = SetAbstraction((64, 32, 64), dtype=policy, name="down1")
        self.down2 = SetAbstraction((64, 32, 8), dtype=policy, name="down2")
        self.up2 = carry((64, 32), "up2")
        self.up1 = carry((32, 32), "up1")
        self.shift1 = linear(64, "shift1")
        self.shift_drop = drop(0.2, "shift_drop")
        self.shift2 = linear(3, "shift2")
        self.code = linear(SHAPE_CODE, "code")
        self.code_drop = drop(0.25, "code_drop")

    def build(self, points_shape):
        groups = self.num_groups
        fine, coarse = (None, groups, 3), (None, groups // 2, 3)
        self.down1.build((None, None, 27))
        self.down2.build((None, None, 64))
        self.up2.build(fine, coarse, (None, None, 64), (None, None, 8))
        self.up1.build(points_shape, fine, (None, None, 27), (None, None, 32))
        self.shift1.build((None, None, 32))
        self.shift2.build((None, None, 64))
        self.code.build((None, 8 * (groups // 2)))
        limit = self.point_scale
        self.points = self.add_weight(
            shape=(1, self.num_points, 3),
            initializer=keras.initializers.RandomUniform(-limit, limit),
            autocast=False,
            dtype="float32",
            name="points",
        )

    def call(self, points, training=False):
        points = ops.cast(points, "float32")
        known = ops.cast(waves(points), self.compute_dtype)
        first = self.cuts[0](points)
        second = self.cuts[1](first["centers"])
        fine = self.down1(known, first["neighbors"], training=training)
        coarse = self.down2(fine, second["neighbors"], training=training)
        x = self.up2(
            first["centers"],
            second["centers"],
            fine,
            coarse,
            training=training,
        )
        x = self.up1(points, first["centers"], known, x, training=training)
        x = self.shift_drop(ops.relu(self.shift1(x)), training=training)
        shift = ops.cast(self.shift2(x), "float32")
        moved = points + self.perturbation * shift * points

        shape = (ops.shape(points)[0], self.num_points, 3)
        added = ops.broadcast_to(self.points * self.point_factor, shape)
        code = ops.reshape(coarse, (-1, 8 * (self.num_groups // 2)))
        code = gelu(self.code(code))
        return {
            "points": ops.concatenate((moved, added), axis=1),
            "shape_code": self.code_drop(code, training=training),
        }

    def compute_output_spec(self, points, **kwargs):
        batch, count = points.shape[:2]
        count = None if count is None else count + self.num_points
        code = (batch, SHAPE_CODE)
        return {
            "points": keras.KerasTensor((batch, count, 3), "float32"),
            "shape_code": keras.KerasTensor(code, self.compute_dtype),
        }
