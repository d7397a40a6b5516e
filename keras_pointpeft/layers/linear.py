import math

import keras
from keras import ops

from keras_pointpeft.ops.arithmetic import linear
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import serializable


@serializable
class Linear(Piece, keras.layers.Dense):
    """A `keras.layers.Dense` that starts as PyTorch's linear layers do.

    Kernel and bias are drawn uniformly within `1 / sqrt(inputs)` of 0, which
    is what every published model relies on where it says nothing. Pass
    initializers to have it otherwise.

    Args:
        units: int. Width of the output.
        kernel_initializer: optional initializer.
        bias_initializer: optional initializer.
        **kwargs: further arguments of `keras.layers.Dense`.

    Input shape:
        `(batch, ..., inputs)`.

    Output shape:
        `(batch, ..., units)`.

    Example:
    ```python
    linear = keras_pointpeft.layers.Linear(64)
    features = linear(np.random.rand(2, 32, 96))  # (2, 32, 64)
    ```
    """

    def __init__(
        self, units, kernel_initializer=None, bias_initializer=None, **kwargs
    ):
        # The range depends on the width of the inputs, which a bias does not
        # see: `build` sets its initializer.
        self._uniform_bias = bias_initializer is None
        super().__init__(
            units,
            kernel_initializer=kernel_initializer
            or keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
            bias_initializer=bias_initializer or "zeros",
            **kwargs,
        )

    def build(self, input_shape):
        if self._uniform_bias:
            limit = 1 / math.sqrt(input_shape[-1])
            self.bias_initializer = keras.initializers.RandomUniform(
                -limit, limit
            )
        super().build(input_shape)

    def call(self, inputs, training=None):
        bias = self.bias
        x = linear(
            inputs,
            ops.convert_to_tensor(self.kernel),
            None if bias is None else ops.convert_to_tensor(bias),
        )
        return x if self.activation is None else self.activation(x)

    def products(self, *inputs):
        """What inputs that stand side by side add to the output, each alone.

        The sum, with `bias`, is the layer's output for the concatenation.
        What is the same for many rows, or is mixed afterwards, costs less so.

        Args:
            *inputs: tensors `(batch, ..., width)`; the widths add up to the
                kernel's.

        Returns:
            list of tensors `(batch, ..., units)`.
        """
        kernel = ops.convert_to_tensor(self.kernel)
        found, start = [], 0
        for x in inputs:
            end = start + x.shape[-1]
            found.append(linear(x, kernel[start:end]))
            start = end
        return found

    def get_config(self):
        config = super().get_config()
        if self._uniform_bias:
            config["bias_initializer"] = None
        return config
