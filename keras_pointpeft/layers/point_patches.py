import keras
from keras import ops

from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import group
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


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
        ValueError: if points do not have 3 coordinates, or a cloud has fewer
            points than groups or points per patch.

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
        self.num_groups = num_groups
        self.group_size = group_size
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
