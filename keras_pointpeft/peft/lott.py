"""LoTT: low-rank updates that agree with a masked view of the cloud.

LoTT-PC, CVPR 2026, of which there is no published code.
"""

import keras
from keras import ops

from keras_pointpeft.ops import gather
from keras_pointpeft.ops import random
from keras_pointpeft.peft.lora import LoRA
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import serializable


def num_seen(num_patches, masked):
    """How many patches a view has: at least one, and not all of them.

    Args:
        num_patches: int.
        masked: float in `(0, 1)`. The share that it does not have.
    """
    count = round((1.0 - masked) * num_patches)
    return min(max(count, 1), max(num_patches - 1, 1))


@serializable
class LoTT(LoRA):
    """LoRA that is trained to see in a few patches what the whole shows.

    The low-rank updates of `LoRA`, in the attention and the MLP, and beside
    the task's loss another: of each training cloud the backbone sees a second
    time a random tenth of the patches, and what it makes of them is to point
    the same way as what it makes of all. At test time
    `keras_pointpeft.training.TestTimeUpdate` makes one update for each cloud
    by the same measure, which needs no label.

    Built from the description of LoTT-PC (CVPR 2026), which has no published
    code: what is compared is what the head reads, class tokens and the
    maximum over the patches; the whole is the target and gets no gradient.
    Figures that are measured with it are this package's alone. Backbones of
    one stage only.

    Args:
        rank: int. Rank of the updates.
        alpha: optional float. The updates are scaled by `alpha / rank`, or
            by 1 if it is None.
        dropout: float. Dropout rate of what the updates read.
        targets: tuple of strings. Which layers have one, some of `"qkv"`,
            `"proj"`, `"fc1"` and `"fc2"`.
        masked: float in `(0, 1)`. Share of the patches that a view in
            training does not have.
        weight: float. Of the second loss; 0 leaves it out.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: if `masked` or `weight` is out of range, as `LoRA` does,
            or, when it is built, for a backbone of several stages.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.LoTT(rank=16)
    )
    ```
    """

    training_only = ("dropout", "masked", "weight")

    def __init__(
        self,
        rank=16,
        alpha=64.0,
        dropout=0.0,
        targets=("qkv", "fc1", "fc2"),
        masked=0.9,
        weight=1.0,
        frozen_bn="inference",
    ):
        if not 0.0 < masked < 1.0:
            raise ValueError(
                f"`masked` must lie in (0, 1). Received: masked={masked!r}"
            )
        if not weight >= 0.0:
            raise ValueError(
                f"`weight` must not be negative. Received: weight={weight!r}"
            )
        self.masked = masked
        self.weight = weight
        super().__init__(rank, alpha, dropout, targets, frozen_bn)

    def view_tuner(self, where):
        if where.num_stages > 1:
            raise ValueError(
                "LoTT compares a cloud with a view of some of its patches, "
                "which a backbone of several stages has none of: there, a "
                "patch is made of those below it. "
                f"Received: a backbone of {where.num_stages} stages"
            )
        return ViewAgreement(
            where.view,
            where.num_class_tokens,
            self.masked,
            self.weight,
            **where.layer,
        )


@serializable
class ViewAgreement(Piece, keras.layers.Layer):
    """Adds to the loss how far a masked view is from the whole.

    Args:
        view: a `keras_pointpeft.models.trunk.View`: what the backbone makes
            of some of the patches.
        num_class_tokens: int. Tokens in front of the patches.
        masked: float. Share of the patches that a view does not have.
        weight: float. Of the loss.

    Input shape:
        final tokens of the whole cloud `(batch, tokens, dim)`; the patches'
        tokens and positions before the first block, `(batch, groups, dim)`
        each.

    Output shape:
        the final tokens, as they are.
    """

    def __init__(self, view, num_class_tokens, masked, weight, **kwargs):
        super().__init__(**kwargs)
        self.view = view
        self.num_class_tokens = num_class_tokens
        self.masked = masked
        self.weight = weight
        self.seed_generator = keras.random.SeedGenerator()

    @property
    def reads(self):
        """The variables that what it adds depends on."""
        return [*self.variables, *self.view.variables]

    def build(self, whole_shape, tokens_shape, positions_shape):
        self.built = True

    def call(self, whole, tokens, positions, training=False):
        if training and self.weight:
            keep = self._drawn(tokens)
            apart = self.disagreement(whole, tokens, positions, keep, training)
            self.add_loss(self.weight * ops.mean(apart))
        return whole

    def disagreement(self, whole, tokens, positions, keep, training=False):
        """One minus the cosine between the whole cloud and a view.

        Args:
            whole, tokens, positions: see the class.
            keep: int `(batch, patches)`, ascending, which patches are seen.
            training: bool. The mode in which the view is seen.

        Returns:
            float32 `(batch,)`, between 0 and 2.
        """
        seen = self.view(
            gather(tokens, keep), gather(positions, keep), training
        )
        seen, whole = self._feature(seen), self._feature(whole)
        whole = ops.stop_gradient(whole)
        lengths = ops.sum(seen * seen, -1) * ops.sum(whole * whole, -1)
        cosine = ops.sum(seen * whole, axis=-1)
        return 1.0 - cosine * ops.rsqrt(ops.maximum(lengths, 1e-24))

    def _feature(self, tokens):
        tokens = ops.cast(tokens, "float32")
        first = self.num_class_tokens
        parts = [tokens[:, i] for i in range(first)]
        parts.append(ops.max(tokens[:, first:], axis=1))
        return ops.concatenate(parts, axis=-1)

    def _drawn(self, tokens):
        """Random patches, in their own order: a row of patches stays one."""
        batch, groups = ops.shape(tokens)[0], tokens.shape[1]
        order = random.uniform((batch, groups), self.seed_generator)
        chosen = ops.argsort(order, axis=1)[:, : num_seen(groups, self.masked)]
        return ops.cast(ops.sort(chosen, axis=1), "int32")

    def compute_output_shape(self, whole_shape, tokens_shape, positions_shape):
        return whole_shape
