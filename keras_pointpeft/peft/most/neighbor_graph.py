"""Which patches of a cloud are neighbours, as MoST weights them."""

import keras
from keras import ops

from keras_pointpeft.ops import gather
from keras_pointpeft.ops import knn
from keras_pointpeft.ops.arithmetic import one_hot
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

# Added to distances before they are inverted.
SOFTENING = 0.05


def differences(centers, num_neighbors):
    """A matrix that takes each patch from the mean of its neighbours.

    A neighbour's weight is the inverse of its distance. Each row adds up
    to 0: the weights of the neighbours, and -1 for the patch itself.

    Args:
        centers: `(batch, groups, 3)`.
        num_neighbors: int. Fewer than there are patches.

    Returns:
        float32 `(batch, groups, groups)`, without gradient.
    """
    centers = ops.stop_gradient(ops.cast(centers, "float32"))
    groups = centers.shape[1]
    # The nearest of all is the patch itself.
    near = knn(centers, centers, num_neighbors + 1)[..., 1:]
    apart = gather(centers, near) - centers[:, :, None]
    distance = ops.sqrt(ops.sum(apart * apart, axis=-1))
    weights = 1.0 / (distance + SOFTENING)
    weights = weights / ops.sum(weights, axis=-1, keepdims=True)
    weights = ops.sum(one_hot(near, groups) * weights[..., None], axis=2)
    return ops.stop_gradient(weights - ops.eye(groups, dtype="float32"))


@serializable
class NeighborGraph(Configurable, keras.layers.Layer):
    """The graph of patch centres, once per cloud; see `differences`.

    Args:
        num_neighbors: int. Neighbours of a patch; all others, if there are
            fewer.
        generates: bool. Whether a branch behind the blocks, which predicts
            patches, needs the graph of the patches it knows: all but the
            last.
        reference: bool. Whether that branch gets the graph of all patches, as
            in the published code, so that a patch is smoothed with the
            neighbours of the one behind it.

    Input shape:
        points `(batch, points, 3)` and centres `(batch, groups, 3)`.

    Output shape:
        dict of `"graph"` `(batch, groups, groups)` and, for such a branch,
        `"graph_before"`, of one patch less, without `reference`.
    """

    def __init__(
        self, num_neighbors=4, generates=False, reference=False, **kwargs
    ):
        # Coordinates stay float32 under every dtype policy.
        super().__init__(autocast=False, **kwargs)
        self.num_neighbors = num_neighbors
        self.generates = generates
        self.reference = reference

    def build(self, points_shape, centers_shape):
        self.built = True

    def call(self, points, centers):
        found = {"graph": self._of(centers)}
        if self.generates:
            whole = found["graph"]
            before = whole if self.reference else self._of(centers[:, :-1])
            found["graph_before"] = before
        return found

    def _of(self, centers):
        fewest = min(self.num_neighbors, centers.shape[1] - 1)
        return differences(centers, fewest)

    def compute_output_spec(self, points, centers):
        batch, groups, _ = centers.shape
        sizes = {"graph": groups}
        if self.generates:
            sizes["graph_before"] = groups - (not self.reference)
        return {
            name: keras.KerasTensor((batch, size, size), "float32")
            for name, size in sizes.items()
        }
