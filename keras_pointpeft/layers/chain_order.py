import keras
from keras import ops

from keras_pointpeft.ops import gather
from keras_pointpeft.ops import nearest_neighbor_chain
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import serializable


@serializable
class ChainOrder(Piece, keras.layers.Layer):
    """Puts patches into a row in which neighbours in space follow each other.

    The order is a greedy chain over their centres, see
    `keras_pointpeft.ops.nearest_neighbor_chain`. Always computed in float32.

    Input shape:
        dict as `keras_pointpeft.layers.PointPatches` returns it.

    Output shape:
        As the input's, and `"order"` `(batch, groups)`, the place that each
        patch had before.

    Example:
    ```python
    cut = keras_pointpeft.layers.PointPatches(16, 8)
    patches = cut(np.random.rand(2, 128, 3))
    patches = keras_pointpeft.layers.ChainOrder()(patches)
    order = patches["order"]  # (2, 16)
    ```
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.built = True

    def call(self, patches):
        order = nearest_neighbor_chain(patches["centers"])

        def reorder(values):
            shape = (-1, *values.shape[1:])
            flat = ops.reshape(values, (-1, shape[1], _size(shape[2:])))
            return ops.reshape(gather(flat, order), shape)

        ordered = {name: reorder(values) for name, values in patches.items()}
        return {**ordered, "order": order}

    def compute_output_spec(self, patches):
        ordered = {
            name: keras.KerasTensor(values.shape, values.dtype)
            for name, values in patches.items()
        }
        shape = patches["centers"].shape[:2]
        return {**ordered, "order": keras.KerasTensor(shape, "int32")}


def _size(shape):
    size = 1
    for length in shape:
        size *= length
    return size
