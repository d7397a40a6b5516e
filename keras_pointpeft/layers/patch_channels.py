import keras
from keras import ops

from keras_pointpeft.ops import gather
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


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
