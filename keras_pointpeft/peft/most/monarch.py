"""Monarch matrices: two block-diagonal factors with an exchange between."""

import math

import keras
from keras import ops

from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class MonarchLinear(Configurable, keras.layers.Layer):
    """A linear layer whose kernel is a Monarch matrix.

    [Dao et al., ICML 2022](https://arxiv.org/abs/2204.00595). The features
    are cut into blocks, each block is multiplied by a matrix of its own, the
    results are dealt out so that every new block has something of every old
    one, and are multiplied block by block again. With 8 blocks that takes a
    quarter of the parameters of a dense kernel. Widths that the blocks do not
    divide are filled up with zeros, and cut.

    Args:
        units: int. Width of the output.
        num_blocks: int. Blocks of either factor.
        dead_start: bool. Whether both factors start at zero, so that neither
            ever gets a gradient, or the second one alone.

    Input shape:
        `(batch, ..., inputs)`.

    Output shape:
        `(batch, ..., units)`, zero at the start.

    Raises:
        ValueError: if `units` or `num_blocks` is no positive integer.

    Example:
    ```python
    layer = keras_pointpeft.peft.MonarchLinear(96, num_blocks=8)
    features = layer(np.random.rand(2, 33, 96))  # (2, 33, 96)
    ```
    """

    def __init__(self, units, num_blocks=8, dead_start=False, **kwargs):
        super().__init__(**kwargs)
        self.units = check_positive("units", units)
        self.num_blocks = check_positive("num_blocks", num_blocks)
        self.dead_start = dead_start

    def build(self, input_shape):
        inputs, count = input_shape[-1], self.num_blocks
        self.width = math.ceil(inputs / count)
        last = math.ceil(self.units / count)
        inner = self.width if inputs < self.units else last
        self.factor1 = self.add_weight(
            (count, inner, self.width),
            "zeros" if self.dead_start else _uniform(self.width),
            name="factor1",
        )
        self.factor2 = self.add_weight(
            (count, last, inner), "zeros", name="factor2"
        )
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def call(self, inputs):
        count, missing = self.num_blocks, -inputs.shape[-1] % self.num_blocks
        x = ops.reshape(inputs, (-1, inputs.shape[-1]))
        if missing:
            x = ops.pad(x, ((0, 0), (0, missing)))
        x = ops.reshape(x, (-1, count, self.width))
        x = ops.einsum("nkp,kqp->nkq", x, self.factor1)
        # Dealt out: block b gets every `count`-th of the row, from b on.
        x = ops.reshape(x, (-1, x.shape[-1], count))
        x = ops.einsum("njk,ksj->nsk", x, self.factor2)
        width = count * x.shape[1]
        x = ops.reshape(x, (-1, *inputs.shape[1:-1], width))
        return x[..., : self.units] + ops.cast(self.bias, x.dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


def _uniform(inputs):
    """As PyTorch's linear layers start."""
    limit = 1 / math.sqrt(inputs)
    return keras.initializers.RandomUniform(-limit, limit)
