"""LoRA: low-rank updates of linear layers.

[Hu et al., ICLR 2022](https://arxiv.org/abs/2106.09685).
"""

import keras

from keras_pointpeft.layers.dropout import Dropout
from keras_pointpeft.layers.linear import Linear
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.layers.tuner import site_widths
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.method import check_sites
from keras_pointpeft.peft.paths import ADDED
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

TARGETS = ("qkv", "proj", "fc1", "fc2")


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
    """

    config_names = ("units", "rank", "scale", "dropout")

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

    config_names = ("mlp_ratio", "targets", "rank", "scale", "dropout")

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


@serializable
class LoRA(PeftMethod):
    """Low-rank updates of the linear layers of a frozen backbone.

    [LoRA](https://arxiv.org/abs/2106.09685). The updates start at zero and
    can be added to the kernels after training, see
    `keras_pointpeft.adapters.merge`. The class token trains too.

    Args:
        rank: int. Rank of the updates.
        alpha: optional float. The updates are scaled by `alpha / rank`; by
            default by 1.
        dropout: float. Dropout rate of what the updates read.
        targets: tuple of strings. Which layers have one, some of `"qkv"`,
            `"proj"`, `"fc1"` and `"fc2"`.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.LoRA(rank=8, targets=("qkv", "proj"))
    )
    ```
    """

    config_names = ("rank", "alpha", "dropout", "targets", "frozen_bn")
    trained = WITH_CLASS_TOKEN
    components = {"low-rank updates": ADDED, "class token": CLASS_TOKEN}

    def __init__(
        self,
        rank=8,
        alpha=None,
        dropout=0.0,
        targets=TARGETS,
        frozen_bn="inference",
    ):
        self.rank = check_positive("rank", rank)
        self.alpha = alpha
        self.dropout = dropout
        self.targets = check_sites(targets, TARGETS, "targets")
        super().__init__(frozen_bn)

    def block_tuner(self, where):
        return LoRATuner(
            where.mlp_ratio,
            self.targets,
            self.rank,
            1.0 if self.alpha is None else self.alpha / self.rank,
            self.dropout,
            **where.layer,
        )

    def merged(self, partial=False):
        return None
