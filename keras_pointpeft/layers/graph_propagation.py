import keras
from keras import ops

from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import knn
from keras_pointpeft.ops.arithmetic import largest
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class GraphPropagation(Configurable, keras.layers.Layer):
    """Carries features to more points along edges to the nearest ones.

    The upsampling of [Point-BERT](https://arxiv.org/abs/2111.14819)'s part
    segmentation, with the edges of [DGCNN](https://arxiv.org/abs/1801.07829):
    first from each point to its nearest sources, then among the points.

    Args:
        dims: tuple of two ints. Widths after either step.
        num_neighbors: int. Edges per point.

    Input shape:
        sources `(batch, few, 3)` and their features `(batch, few, dim)`;
        points `(batch, many, 3)` and theirs `(batch, many, dim)`.

    Output shape:
        `(batch, many, dims[1])`.

    Example:
    ```python
    few, many = np.random.rand(2, 32, 3), np.random.rand(2, 128, 3)
    carry = keras_pointpeft.layers.GraphPropagation(dims=(96, 96))
    features = carry(
        few, np.random.rand(2, 32, 96), many, np.random.rand(2, 128, 96)
    )  # (2, 128, 96)
    ```
    """

    removed = {"num_groups": 4}

    def __init__(self, dims, num_neighbors=4, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        self.num_neighbors = num_neighbors
        policy = self.dtype_policy
        self.linears = [
            Linear(dim, use_bias=False, dtype=policy, name=f"fc{i}")
            for i, dim in enumerate(self.dims, start=1)
        ]
        self.norms = [
            keras.layers.GroupNormalization(
                4, epsilon=1e-5, dtype=policy, name=f"norm{i}"
            )
            for i in (1, 2)
        ]

    def build(self, sources_shape, known_shape, points_shape, features_shape):
        width = features_shape[-1]
        for linear, norm in zip(self.linears, self.norms):
            linear.build((None, None, 2 * width))
            width = linear.units
            norm.build((None, None, None, width))

    def call(self, sources, known, points, features):
        x = self._edges(0, sources, known, points, features)
        return self._edges(1, points, x, points, x)

    def _edges(self, step, sources, known, points, features):
        """The largest of `[source - own, own]` over a point's edges."""
        index = knn(points, sources, self.num_neighbors)
        linear = self.linears[step]
        # A linear layer of a difference is a difference of two products: both
        # are computed once per point, before gathering, not once per edge.
        difference, own = ops.split(linear.kernel, 2, axis=0)
        theirs = gather(ops.matmul(known, difference), index)
        ours = ops.matmul(features, own - difference)
        x = self.norms[step](theirs + ours[:, :, None])
        return largest(ops.leaky_relu(x, negative_slope=0.2), axis=2)

    def compute_output_shape(
        self, sources_shape, known_shape, points_shape, features_shape
    ):
        return (*points_shape[:-1], self.dims[1])
