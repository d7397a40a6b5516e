"""Low-rank updates beside the linear layers of a block."""

import keras

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.layers.tuner import site_widths
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class LowRankUpdate(Configurable, keras.layers.Layer):
    """What a low-rank matrix adds to a linear layer: `scale * x A B`.

    `B` starts at zero, and so does the update.

    Args:
        units: int. Width of the output.
        rank: int. Rank of the matrix.
        scale: float.
        dropout: float. Dropout rate of the input.

    Input shape:
        `(batch, tokens, inputs)`.

    Output shape:
        `(batch, tokens, units)`.

    Example:
    ```python
    update = keras_pointpeft.peft.LowRankUpdate(units=288, rank=4)
    added = update(np.random.rand(2, 33, 96))  # (2, 33, 288)
    ```
    """

    def __init__(self, units, rank=8, scale=1.0, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rank = rank
        self.scale = scale
        self.dropout = dropout
        policy = self.dtype_policy
        self.drop = Dropout(dropout, dtype=policy, name="drop")
        self.down = Linear(rank, use_bias=False, dtype=policy, name="down")
        self.up = Linear(
            units, "zeros", use_bias=False, dtype=policy, name="up"
        )

    def build(self, input_shape):
        self.down.build(input_shape)
        self.up.build((None, None, self.rank))

    def matrix(self):
        """The update as one matrix `(inputs, units)`."""
        return self.scale * keras.ops.matmul(self.down.kernel, self.up.kernel)

    def call(self, x, training=False):
        hidden = self.down(self.drop(x, training=training))
        return self.up(hidden) * self.scale

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


@serializable
class LoRATuner(Configurable, BlockTuner):
    """A `LowRankUpdate` beside some of the linear layers of one block."""

    def __init__(
        self, mlp_ratio, targets, rank, scale=1.0, dropout=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.targets = tuple(targets)
        self.rank = rank
        self.scale = scale
        self.dropout = dropout

    def build(self, tokens_shape):
        widths = site_widths(tokens_shape[-1], self.mlp_ratio)
        for site in self.targets:
            inputs, units = widths[site]
            update = LowRankUpdate(
                units,
                self.rank,
                self.scale,
                self.dropout,
                dtype=self.dtype_policy,
                name=site,
            )
            setattr(self, f"{site}_update", update)
            update.build((None, None, inputs))

    def update_at(self, site):
        """The `LowRankUpdate` beside one of the layers."""
        return getattr(self, f"{site}_update")

    def beside(self, place, x, geometry, training):
        if place not in self.targets:
            return None
        return self.update_at(place)(x, training=training)

    def fold(self, site, kernel, bias):
        if site not in self.targets:
            return kernel, bias
        update = self.update_at(site).matrix()
        return kernel + keras.ops.convert_to_numpy(update), bias
