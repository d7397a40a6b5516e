"""LoRA: low-rank updates of linear layers.

[Hu et al., ICLR 2022](https://arxiv.org/abs/2106.09685).
"""

from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.method import check_sites
from keras_pointpeft.peft.parts import LoRATuner
from keras_pointpeft.serialization import serializable

TARGETS = ("qkv", "proj", "fc1", "fc2")


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

    Raises:
        ValueError: if `rank` is no positive integer, or for unknown `targets`
            or `frozen_bn`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.LoRA(rank=8, targets=("qkv", "proj"))
    )
    ```
    """

    training_only = ("dropout",)
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
        self.targets = check_sites(targets, TARGETS, "targets", fewest=1)
        super().__init__(frozen_bn)

    @classmethod
    def effective(cls, config):
        if config.get("alpha") is None:
            config = {**config, "alpha": config.get("rank")}
        return config

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
