import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import interpolate
from keras_pointpeft.ops.interpolation import nearest_weights
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class FeaturePropagation(Configurable, keras.layers.Layer):
    """Carries tokens from their centres to points, beside what is known there.

    The feature propagation of
    [PointNet++](https://arxiv.org/abs/1706.02413), section 3.4: interpolation
    from the nearest centres, then linear layers over both, each with
    BatchNorm and ReLU.

    Args:
        dims: tuple of ints. Widths of the layers.
        num_neighbors: int. How many centres; all, if there are fewer.
        epsilon: float. Added to squared distances.
        side_by_side: bool. Whether what the nearest centres have, each by its
            weight, stands side by side instead of being added up.

    Input shape:
        points `(batch, points, 3)`; centres `(batch, groups, 3)`; what is
        known of the points `(batch, points, known)`; tokens
        `(batch, groups, width)`.

    Output shape:
        `(batch, points, dims[-1])`.

    Example:
    ```python
    points, centers = np.random.rand(2, 512, 3), np.random.rand(2, 32, 3)
    known, tokens = np.random.rand(2, 512, 3), np.random.rand(2, 32, 96)
    carry = keras_pointpeft.layers.FeaturePropagation(dims=(64, 64))
    features = carry(points, centers, known, tokens)  # (2, 512, 64)
    ```
    """

    renamed = {"neighbors": "num_neighbors"}

    def __init__(
        self,
        dims,
        num_neighbors=3,
        epsilon=1e-8,
        side_by_side=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.side_by_side = side_by_side
        self.dims = tuple(dims)
        self.num_neighbors = num_neighbors
        self.epsilon = epsilon
        policy = self.dtype_policy
        numbers = range(1, len(self.dims) + 1)
        self.linears = [
            Linear(dim, dtype=policy, name=f"fc{i}")
            for i, dim in zip(numbers, self.dims)
        ]
        self.norms = [BatchNorm(dtype=policy, name=f"norm{i}") for i in numbers]

    def build(self, points_shape, centers_shape, known_shape, tokens_shape):
        parts = self._count(centers_shape[1]) if self.side_by_side else 1
        width = known_shape[-1] + parts * tokens_shape[-1]
        for linear, norm in zip(self.linears, self.norms):
            linear.build((None, None, width))
            width = linear.units
            norm.build((None, None, width))

    def call(self, points, centers, known, tokens, training=False):
        first, *others = self.linears
        # Interpolation mixes rows, so the layer may come before it, where
        # there are fewer of them.
        known = ops.cast(known, self.compute_dtype)
        count = self._count(tokens.shape[1])
        x, *products = first.products(
            known, *[tokens] * (count if self.side_by_side else 1)
        )
        if self.side_by_side:
            index, weights = nearest_weights(
                points, centers, count, self.epsilon
            )
            for j, product in enumerate(products):
                weight = ops.cast(weights[..., j : j + 1], product.dtype)
                x = x + weight * gather(product, index[:, :, j])
        else:
            (product,) = products
            x = x + interpolate(points, centers, product, count, self.epsilon)
        x = x + first.bias
        x = ops.relu(self.norms[0](x, training=training))
        for linear, norm in zip(others, self.norms[1:]):
            x = ops.relu(norm(linear(x), training=training))
        return x

    def _count(self, centers):
        return min(self.num_neighbors, centers)

    def compute_output_shape(self, points_shape, *others):
        return (*points_shape[:-1], self.dims[-1])
