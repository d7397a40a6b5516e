"""VPT: learned prompts among the tokens.

[Jia et al., ECCV 2022](https://arxiv.org/abs/2203.12119).
"""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.peft.parts import remove_behind
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class PromptTuner(Configurable, BlockTuner):
    """Prompts of one block.

    Args:
        num_prompts: int.
        num_class_tokens: int. Behind how many tokens they stand.
        dropout: float. Dropout rate of the prompts.
        leaves: bool. Whether they are taken out after the block.
    """

    def __init__(
        self, num_prompts, num_class_tokens, dropout=0.0, leaves=True, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_prompts = num_prompts
        self.num_class_tokens = num_class_tokens
        self.dropout = dropout
        self.leaves = leaves
        self.tokens_added = 0 if leaves else num_prompts
        self.drop = Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def build(self, tokens_shape):
        for name in ("embeddings", "positions"):
            weight = self.add_weight(
                shape=(1, self.num_prompts, tokens_shape[-1]),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                name=name,
            )
            setattr(self, name, weight)

    def enter(self, tokens, geometry, training):
        prompts = self.embeddings + self.positions
        shape = (ops.shape(tokens)[0], *prompts.shape[1:])
        prompts = ops.broadcast_to(prompts, shape)
        prompts = self.drop(prompts, training=training)
        return insert_behind(tokens, prompts, self.num_class_tokens)

    def leave(self, tokens, side, geometry, training):
        if not self.leaves:
            return tokens
        return remove_behind(tokens, self.num_prompts, self.num_class_tokens)


@serializable
class VPT(PeftMethod):
    """Learned prompts among the tokens of a frozen backbone.

    [Visual Prompt Tuning](https://arxiv.org/abs/2203.12119), as
    [IDPT](https://arxiv.org/abs/2304.07221) applies it to point clouds: with
    a learned position for each prompt. The class token trains too.

    Args:
        num_prompts: int. Prompts per block.
        deep: bool. Whether every block has prompts of its own, which are
            taken out behind it. If not, those of the first block (in a
            hierarchical backbone, of each stage's first) stay.
        dropout: float. Dropout rate of the prompts.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.VPT(num_prompts=10, deep=True)
    )
    ```
    """

    training_only = ("dropout",)
    trained = WITH_CLASS_TOKEN
    components = {"prompts": ADDED, "class token": CLASS_TOKEN}

    def __init__(
        self, num_prompts=10, deep=True, dropout=0.0, frozen_bn="inference"
    ):
        self.num_prompts = check_positive("num_prompts", num_prompts)
        self.deep = deep
        self.dropout = dropout
        super().__init__(frozen_bn)

    def block_tuner(self, where):
        if not self.deep and where.index != where.blocks.start:
            return None
        return PromptTuner(
            self.num_prompts,
            where.num_class_tokens,
            self.dropout,
            leaves=self.deep,
            **where.layer,
        )
