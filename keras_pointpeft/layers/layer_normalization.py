import keras
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.arithmetic import layer_norm
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import serializable


@serializable
class LayerNormalization(Piece, keras.layers.LayerNormalization):
    """A `keras.layers.LayerNormalization` of the last axis, for tokens.

    [Layer normalization](https://arxiv.org/abs/1607.06450), into which a scale
    and a shift that follow it can be folded. The class keeps the name of
    Keras' own, because weight files name unnamed layers after their class.

    Args:
        epsilon: float. Added to the variance.
        **kwargs: further arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Example:
    ```python
    norm = keras_pointpeft.layers.LayerNormalization()
    tokens = norm(np.random.rand(2, 32, 96))
    ```
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs, affine=None):
        """Normalizes.

        Args:
            inputs: tensor.
            affine: optional pair of a scale, which may be None, and a shift,
                each `(dim,)`: what comes after the norm, and costs nothing
                within it.
        """
        scale, shift = self.gamma.value, self.beta.value
        if affine is not None and affine[0] is not None:
            fast = accelerators.find("layer_norm_affine")
            outputs = fast and fast(inputs, scale, shift, self.epsilon, *affine)
            if outputs is not None:
                return outputs
        if affine is not None:
            factor, offset = (
                None if x is None else ops.cast(x, scale.dtype) for x in affine
            )
            if factor is not None:
                scale, shift = scale * factor, shift * factor
            shift = shift + offset
        outputs = layer_norm(inputs, scale, shift, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)
