"""PointLoRA: low-rank updates, and tokens chosen at several scales.

[Wang et al., CVPR 2025](https://arxiv.org/abs/2504.16023).
"""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import gather
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import FIRST_LAYERS
from keras_pointpeft.peft.method import POSITION
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.parts import LoRATuner
from keras_pointpeft.peft.parts import add_to_parts
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.peft.parts import mlp
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

SITES = ("qkv", "proj")


@serializable
class MaskPredictor(Configurable, keras.layers.Layer):
    """Scores tokens between 0 and 1.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens)`.
    """

    def build(self, tokens_shape):
        dim, policy = tokens_shape[-1], self.dtype_policy
        self.fc1 = Linear(dim // 2, dtype=policy, name="fc1")
        self.fc2 = Linear(1, dtype=policy, name="fc2")
        self.fc1.build(tokens_shape)
        self.fc2.build((None, None, dim // 2))

    def call(self, tokens):
        scores = self.fc2(ops.relu(self.fc1(tokens)))
        return ops.sigmoid(ops.cast(scores[..., 0], "float32"))

    def compute_output_shape(self, tokens_shape):
        return tokens_shape[:-1]


def sharpness(scores):
    """The mean negative entropy of scores between 0 and 1."""
    rest = 1.0 - scores
    return ops.mean(
        scores * ops.log(scores + 1e-6) + rest * ops.log(rest + 1e-6)
    )


@serializable
class TokenSelection(Configurable, keras.layers.Layer):
    """Puts the best tokens of further scales among the patches.

    Also the home of the MLPs that all blocks share.

    Args:
        before_block: int. Before which block it is called.
        num_class_tokens: int. Behind how many tokens the chosen go.
        keep_one_of: tuple of ints. One of so many tokens is chosen, by scale.
        scale_weights: tuple of floats. Weight of each scale in the loss.
        loss_weight: float. Weight of the loss that keeps scores soft.
        rank: int. Inner width of the MLPs.

    Input shape:
        tokens and positions, `(batch, tokens, dim)` each, and a list with a
        pair of the same for each scale.

    Output shape:
        two tensors `(batch, tokens + chosen, dim)`.
    """

    def __init__(
        self,
        before_block,
        num_class_tokens,
        keep_one_of,
        scale_weights,
        loss_weight=0.004,
        rank=32,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.before_block = before_block
        self.num_class_tokens = num_class_tokens
        self.keep_one_of = tuple(keep_one_of)
        self.scale_weights = tuple(scale_weights)
        self.loss_weight = loss_weight
        self.rank = rank
        policy = self.dtype_policy
        self.predictor = MaskPredictor(dtype=policy, name="predictor")
        self.patch_mlp = mlp(rank, "patch_mlp", policy)
        self.prompt_mlp = mlp(rank, "prompt_mlp", policy)

    def build(self, tokens_shape, positions_shape=None, more_shape=None):
        dim, policy = tokens_shape[-1], self.dtype_policy
        self.qkv_mlp = mlp(self.rank, "qkv_mlp", policy, 3 * dim)
        self.proj_mlp = mlp(self.rank, "proj_mlp", policy)
        for layer in (
            self.predictor,
            self.patch_mlp,
            self.prompt_mlp,
            self.qkv_mlp,
            self.proj_mlp,
        ):
            layer.build((None, None, dim))

    def select(self, tokens, count):
        """The scores of tokens, and the indices of the best, best first."""
        scores = self.predictor(tokens)
        index = ops.top_k(ops.stop_gradient(scores), count)[1]
        return scores, ops.cast(index, "int32")

    def _counts(self, more):
        return [
            max(1, tokens.shape[1] // of)
            for (tokens, _), of in zip(more, self.keep_one_of)
        ]

    def call(self, tokens, positions, more):
        counts = self._counts(more)
        chosen, places, loss = [], [], 0.0
        for (x, place), count, weight in zip(more, counts, self.scale_weights):
            scores, index = self.select(x, count)
            chosen.append(gather(x, index))
            places.append(gather(place, index))
            loss = loss + weight * sharpness(scores)
        self.add_loss(self.loss_weight * loss)
        first = self.num_class_tokens
        prompts = ops.concatenate(chosen, axis=1)
        tokens = insert_behind(tokens, prompts, first)
        places = ops.concatenate(places, axis=1)
        return tokens, insert_behind(positions, places, first)

    def compute_output_spec(self, tokens, positions, more):
        batch, count, dim = tokens.shape
        shape = (batch, count + sum(self._counts(more)), dim)
        return tuple(
            keras.KerasTensor(shape, x.dtype) for x in (tokens, positions)
        )


@serializable
class PointLoRATuner(LoRATuner):
    """PointLoRA inside one block.

    Low-rank updates, and beside each an MLP that all blocks share behind a
    gate of the block's own.
    """

    config_names = (
        *LoRATuner.config_names,
        "num_class_tokens",
        "num_patches",
    )

    def __init__(
        self,
        mlp_ratio,
        targets,
        rank,
        scale=1.0,
        dropout=0.0,
        num_class_tokens=1,
        num_patches=64,
        **kwargs,
    ):
        super().__init__(mlp_ratio, targets, rank, scale, dropout, **kwargs)
        self.num_class_tokens = num_class_tokens
        self.num_patches = num_patches

    def build(self, tokens_shape):
        super().build(tokens_shape)
        for site in self.targets:
            gate = self.add_weight(
                shape=(1,), initializer="ones", name=f"{site}_gate"
            )
            setattr(self, f"{site}_gate", gate)

    def enter(self, tokens, geometry, training):
        first = self.num_class_tokens
        return add_to_parts(
            tokens,
            first,
            tokens.shape[1] - first - self.num_patches,
            self.shared.prompt_mlp,
            self.shared.patch_mlp,
        )

    def beside(self, place, x, geometry, training):
        update = super().beside(place, x, geometry, training)
        if update is None:
            return None
        gate = ops.cast(getattr(self, f"{place}_gate"), update.dtype)
        return update + gate * getattr(self.shared, f"{place}_mlp")(x)


@serializable
class PointLoRA(PeftMethod):
    """Low-rank updates of the attention, and tokens of several scales.

    [PointLoRA](https://arxiv.org/abs/2504.16023): further patches, of other
    sizes, are scored, and the best of them join the sequence. Projections of
    the attention have low-rank updates and, beside them, MLPs that all blocks
    share. The first layers of the patch encoder, the position embedding and
    the class token train too. Which tokens are chosen has no gradient; a
    small loss, which keeps the scores near a half, is all that trains them.

    The published code leaves the gates of the shared MLPs at 1, which
    `reference=True` reproduces.

    Args:
        rank: int. Rank of the updates.
        prompt_rank: int. Inner width of the MLPs.
        scales: tuple of triples of ints `(a, b, c)`: of a backbone with `n`
            patches of `k` points, `n / a` patches of `k * b` points are
            scored, and one of `c` is kept.
        scale_weights: tuple of floats. Weight of each scale in the loss.
        loss_weight: float. Weight of the loss.
        reference: bool. Whether the gates stay at 1.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: if scales and their weights differ in number.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.PointLoRA()
    )
    ```
    """

    components = {
        "mask predictor": r"(^|/)tuner_sequence[^/]*/predictor/",
        "prompt MLPs": r"(^|/)tuner_sequence[^/]*/",
        "low-rank updates": ADDED,
        "patch encoder": FIRST_LAYERS,
        "position embedding": POSITION,
        "class token": CLASS_TOKEN,
    }
    training_only = ("scale_weights", "loss_weight")
    pooling = {
        "class_token": "first",
        "prompt_token": "with_patches",
        "patch_token": "max",
    }

    def __init__(
        self,
        rank=8,
        prompt_rank=32,
        scales=((1, 1, 4), (2, 2, 8)),
        scale_weights=(1.0, 0.25),
        loss_weight=0.004,
        reference=False,
        frozen_bn="inference",
    ):
        if len(scales) != len(scale_weights):
            raise ValueError(
                "Each scale has one weight. Received: "
                f"scales={scales}, scale_weights={scale_weights}"
            )
        self.rank = check_positive("rank", rank)
        self.prompt_rank = check_positive("prompt_rank", prompt_rank)
        self.scales = tuple(tuple(scale) for scale in scales)
        self.scale_weights = tuple(scale_weights)
        self.loss_weight = loss_weight
        self.reference = reference
        super().__init__(frozen_bn)

    @property
    def trained(self):
        added = r"(^|/)tuner[^/]*/(?!\w+_gate$)" if self.reference else ADDED
        return (added, CLASS_TOKEN, FIRST_LAYERS, POSITION)

    @property
    def state(self):
        return (r"/tuner/\w+_gate$",) if self.reference else ()

    def more_patches(self, where):
        return tuple(
            (max(1, where.num_groups // fewer), where.group_size * larger)
            for fewer, larger, _ in self.scales
        )

    def sequence_tuner(self, where):
        return TokenSelection(
            where.blocks.start,
            where.num_class_tokens,
            tuple(of for _, _, of in self.scales),
            self.scale_weights,
            self.loss_weight,
            self.prompt_rank,
            **where.layer,
        )

    def block_tuner(self, where):
        return PointLoRATuner(
            where.mlp_ratio,
            SITES,
            self.rank,
            num_class_tokens=where.num_class_tokens,
            num_patches=where.num_groups,
            shared=where.shared,
            **where.layer,
        )
