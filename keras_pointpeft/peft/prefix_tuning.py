"""Prefix tuning: learned keys and values.

[Li and Liang, ACL 2021](https://arxiv.org/abs/2101.00190).
"""

import keras

from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class PrefixTuner(Configurable, BlockTuner):
    """Learned keys and values of the attention of one block."""

    def __init__(self, num_prefixes, **kwargs):
        super().__init__(**kwargs)
        self.num_prefixes = num_prefixes

    def build(self, tokens_shape):
        for name in ("keys", "values"):
            weight = self.add_weight(
                shape=(self.num_prefixes, tokens_shape[-1]),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                name=name,
            )
            setattr(self, name, weight)

    def prefix(self):
        return self.keys, self.values


@serializable
class PrefixTuning(PeftMethod):
    """Learned keys and values in every attention of a frozen backbone.

    [Prefix-Tuning](https://arxiv.org/abs/2101.00190): all tokens attend to
    them, as if they stood in front of the sequence. The class token trains
    too.

    Args:
        num_prefixes: int. Keys and values per block.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.PrefixTuning(num_prefixes=10)
    )
    ```
    """

    trained = WITH_CLASS_TOKEN
    components = {"prefixes": ADDED, "class token": CLASS_TOKEN}

    def __init__(self, num_prefixes=10, frozen_bn="inference"):
        self.num_prefixes = check_positive("num_prefixes", num_prefixes)
        super().__init__(frozen_bn)

    def block_tuner(self, where):
        return PrefixTuner(self.num_prefixes, **where.layer)
