import keras
from keras import ops

from keras_pointpeft.ops import squared_distances
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class NearMask(Configurable, keras.layers.Layer):
    """Allows attention between patches whose centres are near each other.

    The local attention of [Point-M2AE](https://arxiv.org/abs/2205.14401).
    Always computed in float32, by direct differences.

    Args:
        radius: float. Centres at less than this distance attend to each
            other.

    Input shape:
        `(batch, groups, 3)`.

    Output shape:
        boolean `(batch, groups, groups)`, true where attention is allowed.

    Raises:
        ValueError: if `radius` is not positive.

    Example:
    ```python
    near = keras_pointpeft.layers.NearMask(radius=0.32)
    mask = near(np.random.rand(2, 64, 3))  # (2, 64, 64)
    ```
    """

    def __init__(self, radius, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if not radius > 0:
            raise ValueError(
                f"`radius` must be positive. Received: radius={radius}"
            )
        self.radius = radius

    def build(self, input_shape):
        self.built = True

    def call(self, centers):
        distance = ops.sqrt(squared_distances(centers, centers))
        return distance < self.radius

    def compute_output_spec(self, centers):
        batch, groups, _ = centers.shape
        return keras.KerasTensor((batch, groups, groups), "bool")
