"""PPT: prompts that are further patches of the cloud.

[Zhang et al., 2024](https://arxiv.org/abs/2408.11567).
"""

import keras
from keras import ops

from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import FIRST_LAYERS
from keras_pointpeft.peft.method import POSITION
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.parts import add_to_parts
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.peft.parts import mlp
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class PatchPrompts(Configurable, keras.layers.Layer):
    """Puts further patches among the tokens; home of what blocks share.

    Args:
        before_block: int. Before which block it is called.
        num_class_tokens: int. Behind how many tokens the patches go.
        rank: int. Inner width of the three shared MLPs.

    Input shape:
        tokens and positions, `(batch, tokens, dim)` each, and a list with
        one pair of the same for the further patches.

    Output shape:
        two tensors `(batch, tokens + patches, dim)`.
    """

    def __init__(self, before_block, num_class_tokens, rank=256, **kwargs):
        super().__init__(**kwargs)
        self.before_block = before_block
        self.num_class_tokens = num_class_tokens
        self.rank = rank
        policy = self.dtype_policy
        self.patch_mlp = mlp(rank, "patch_mlp", policy)
        self.prompt_mlp = mlp(rank, "prompt_mlp", policy)
        self.block_mlp = mlp(rank, "block_mlp", policy)

    def build(self, tokens_shape, positions_shape=None, more_shape=None):
        for layer in (self.patch_mlp, self.prompt_mlp, self.block_mlp):
            layer.build((None, None, tokens_shape[-1]))

    def call(self, tokens, positions, more):
        first = self.num_class_tokens
        ((prompts, places),) = more
        tokens = insert_behind(tokens, prompts, first)
        return tokens, insert_behind(positions, places, first)

    def compute_output_spec(self, tokens, positions, more):
        ((prompts, _),) = more
        count = tokens.shape[1] + prompts.shape[1]
        shape = (tokens.shape[0], count, tokens.shape[2])
        return tuple(
            keras.KerasTensor(shape, x.dtype) for x in (tokens, positions)
        )


def add_one_late(tokens, count, to_prompts, to_patches):
    """The same without class token, as the published segmentation has it.

    There the layer of the patches begins with the second one, and ends with
    the first prompt.
    """
    start, prompts, first, rest = split_at(tokens, 1, count, count + 1)
    start = start + to_patches(start)
    prompts = ops.concatenate((start, prompts), axis=1)
    rest = rest + to_patches(rest)
    prompts = prompts + to_prompts(prompts)
    return ops.concatenate((prompts, first, rest), axis=1)


@serializable
class PPTTuner(Configurable, BlockTuner):
    """PPT inside one block: MLPs on patches, on prompts and on all tokens."""

    def __init__(
        self, num_class_tokens, num_patches, reference=False, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_class_tokens = num_class_tokens
        self.num_patches = num_patches
        self.reference = reference

    def build(self, tokens_shape):
        self.built = True

    def enter(self, tokens, geometry, training):
        first = self.num_class_tokens
        count = tokens.shape[1] - first - self.num_patches
        mlps = self.shared.prompt_mlp, self.shared.patch_mlp
        if self.reference and first == 0:
            return add_one_late(tokens, count, *mlps)
        return add_to_parts(tokens, first, count, *mlps)

    def beside(self, place, x, geometry, training):
        return self.shared.block_mlp(x) if place == "branch" else None


@serializable
class PPT(PeftMethod):
    """Further patches of the cloud as prompts.

    [Positional Prompt Tuning](https://arxiv.org/abs/2408.11567): a second
    set of patches joins the sequence. Before every block an MLP moves the
    patches, another the prompts; a third stands beside the MLP. All blocks
    share them. The first layers of the patch encoder, the position embedding
    and the class token train too. The published head has GELUs
    (`PointCloudClassifier(head_activation="gelu")`).

    In the published configurations for ScanObjectNN both sets of patches are
    the same.

    Args:
        num_prompts: optional int. Number of further patches; by default as
            many as the backbone has.
        prompt_group_size: optional int. Points per further patch, likewise.
        rank: int. Inner width of the MLPs.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.
        reference: bool. Whether, without class token, the patches' MLP acts
            one token late, as in the published segmentation model.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.PPT()
    )
    ```
    """

    renamed = {"prompt_size": "prompt_group_size"}
    pools_prompts = True
    trained = (ADDED, CLASS_TOKEN, FIRST_LAYERS, POSITION)
    components = {
        "prompt MLPs": ADDED,
        "patch encoder": FIRST_LAYERS,
        "position embedding": POSITION,
        "class token": CLASS_TOKEN,
    }
    pooling = {
        "class_token": "first",
        "prompt_token": "mean",
        "patch_token": "mean",
        "order": ("class_token", "patch_token", "prompt_token"),
    }

    def __init__(
        self,
        num_prompts=None,
        prompt_group_size=None,
        rank=256,
        frozen_bn="inference",
        reference=False,
    ):
        self.reference = reference
        if num_prompts is not None:
            num_prompts = check_positive("num_prompts", num_prompts)
        if prompt_group_size is not None:
            prompt_group_size = check_positive(
                "prompt_group_size", prompt_group_size
            )
        self.num_prompts = num_prompts
        self.prompt_group_size = prompt_group_size
        self.rank = check_positive("rank", rank)
        super().__init__(frozen_bn)

    def more_patches(self, where):
        count = self.num_prompts or where.num_groups
        return ((count, self.prompt_group_size or where.group_size),)

    def sequence_tuner(self, where):
        return PatchPrompts(
            where.blocks.start,
            where.num_class_tokens,
            self.rank,
            **where.layer,
        )

    def block_tuner(self, where):
        return PPTTuner(
            where.num_class_tokens,
            where.num_groups,
            self.reference,
            shared=where.shared,
            **where.layer,
        )
