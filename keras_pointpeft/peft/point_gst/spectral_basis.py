"""The spectral basis of a cloud's patches, of PointGST."""

import keras
from keras import ops

from keras_pointpeft.ops import gather
from keras_pointpeft.ops import morton_order
from keras_pointpeft.ops import squared_distances
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def graph_laplacian(points, axes=(-2, -1)):
    """The normalised Laplacian of the complete graph of points.

    Weights are inverse distances in units of the smallest one.

    Args:
        points: `(batch, points, 3)`.
        axes: tuple of ints or None. Over what the smallest distance is taken:
            by default each graph has its own.

    Returns:
        float32 `(batch, points, points)`.
    """
    squared = squared_distances(points, points)
    distance = ops.sqrt(ops.maximum(squared, 0.0))
    apart = ops.where(distance > 0.0, distance, 3e38)
    unit = ops.min(apart, axis=axes, keepdims=True)
    # A point and itself, or one at the same place, have the weight 1.
    weights = 1.0 / ops.maximum(distance / unit, 1.0)
    scale = ops.rsqrt(ops.sum(weights, axis=-1) + 1e-6)
    identity = ops.eye(points.shape[1], dtype="float32")
    return identity - scale[:, :, None] * weights * scale[:, None, :]


def eigenvectors(matrices):
    """Eigenvectors of symmetric matrices, in columns, lowest value first.

    Their signs, which no backend promises, are such that the sum of the cubes
    of a vector is positive.

    Args:
        matrices: float32 `(batch, n, n)`.

    Returns:
        float32 `(batch, n, n)`, without gradient.
    """
    _, vectors = ops.eigh(ops.stop_gradient(matrices))
    skew = ops.sum(vectors**3, axis=1, keepdims=True)
    return ops.stop_gradient(ops.where(skew < 0.0, -vectors, vectors))


@serializable
class SpectralBasis(Configurable, keras.layers.Layer):
    """Eigenvectors of the graph of patch centres, of all and of parts.

    Args:
        local: int. Patches in a part: neighbours on a space-filling curve.
            All patches, if there are fewer.
        reference: bool. Whether distances are in units of the smallest one in
            the whole batch, and the curve as in the published code.

    Input shape:
        points `(batch, points, 3)` and centres `(batch, groups, 3)`.

    Output shape:
        dict of `"basis"` `(batch, groups, groups)`, `"local_basis"`
        `(batch, groups / local, local, local)`, and `"order"`, the place of
        each patch on the curve, and `"rank"`, where each place's patch is,
        both `(batch, groups)`.
    """

    gives = ("basis", "local_basis", "order", "rank")

    def __init__(self, local=32, reference=False, **kwargs):
        # Coordinates stay float32 under every dtype policy.
        super().__init__(autocast=False, **kwargs)
        self.local = local
        self.reference = reference

    def _size(self, groups):
        size = min(self.local, groups)
        if groups % size:
            raise ValueError(
                "The number of patches must be a multiple of `local`. "
                f"Received: local={self.local} for {groups} patches"
            )
        return size

    def build(self, points_shape, centers_shape):
        self._size(centers_shape[1])
        self.built = True

    def call(self, points, centers):
        centers = ops.cast(centers, "float32")
        groups = centers.shape[1]
        size = self._size(groups)
        axes = None if self.reference else (-2, -1)
        order = morton_order(centers, wrap=self.reference)
        parts = ops.reshape(gather(centers, order), (-1, size, 3))
        local = eigenvectors(graph_laplacian(parts, axes))
        return {
            "basis": eigenvectors(graph_laplacian(centers, axes)),
            "local_basis": ops.reshape(local, (-1, groups // size, size, size)),
            "order": order,
            "rank": ops.cast(ops.argsort(order, axis=1), "int32"),
        }

    def compute_output_spec(self, points, centers):
        batch, groups, _ = centers.shape
        size = self._size(groups)
        parts = {
            "basis": ((batch, groups, groups), "float32"),
            "local_basis": ((batch, groups // size, size, size), "float32"),
            "order": ((batch, groups), "int32"),
            "rank": ((batch, groups), "int32"),
        }
        return {name: keras.KerasTensor(*part) for name, part in parts.items()}
