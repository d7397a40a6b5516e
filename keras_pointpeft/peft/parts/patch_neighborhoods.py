import keras
from keras import ops

from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import knn
from keras_pointpeft.ops import squared_distances
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
