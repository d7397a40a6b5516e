"""AdaptFormer: an adapter beside the MLP.

[Chen et al., NeurIPS 2022](https://arxiv.org/abs/2205.13535).
"""

from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.parts import BottleneckAdapter
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class AdaptFormerTuner(Configurable, BlockTuner):
    """An adapter beside the norm and the MLP of one block."""

    def __init__(self, rank, scale, dropout, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.scale = scale
        self.dropout = dropout
        self.adapter = BottleneckAdapter(
            rank,
            dropout,
            activation="relu",
            start="zero",
            dtype=self.dtype_policy,
            name="adapter",
        )

    def build(self, tokens_shape):
        self.adapter.build(tokens_shape)

    def beside(self, place, x, geometry, training):
        if place != "branch":
            return None
        return self.scale * self.adapter(x, training=training)


@serializable
class AdaptFormer(PeftMethod):
    """A bottleneck adapter beside the MLP of every block.

    [AdaptFormer](https://arxiv.org/abs/2205.13535): `scale * up(relu(down(
    x)))` of the tokens before the MLP's norm is added to them with the MLP's
    output. The adapters start at zero. The class token trains too.

    Args:
        rank: int. Width of the adapters' bottleneck.
        scale: float. Weight of the adapters' output.
        dropout: float. Dropout rate inside the adapters.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.AdaptFormer(rank=64)
    )
    ```
    """

    training_only = ("dropout",)
    trained = WITH_CLASS_TOKEN
    components = {"adapters": ADDED, "class token": CLASS_TOKEN}

    def __init__(self, rank=64, scale=0.1, dropout=0.1, frozen_bn="inference"):
        self.rank = check_positive("rank", rank)
        self.scale = scale
        self.dropout = dropout
        super().__init__(frozen_bn)

    def block_tuner(self, where):
        return AdaptFormerTuner(
            self.rank, self.scale, self.dropout, **where.layer
        )
