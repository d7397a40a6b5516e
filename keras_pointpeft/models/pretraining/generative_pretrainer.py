import numpy as np
from keras import ops

from keras_pointpeft.layers.point_generator import generation_loss
from keras_pointpeft.models.pretraining.pretrainer import Pretrainer
from keras_pointpeft.ops import random
from keras_pointpeft.serialization import serializable


@serializable
class GenerativePretrainer(Pretrainer):
    """Pre-trains a PointGPT by generating the points of each next patch.

    [PointGPT](https://arxiv.org/abs/2305.11487), sections 3.1 and 3.2.
    Patches stand in a row; causal blocks see those before, and of these too
    some are hidden from all others ("dual masking"); the generation branch
    rebuilds every patch from what comes before it. The loss is the sum of
    both chamfer distances.

    The backbone's own layers are trained in place, its generation branch
    among them: afterwards it is ready for `save_to_preset` or a task. Its
    class token takes no part.

    Args:
        backbone: a `keras_pointpeft.models.PointGPTBackbone` without `peft`
            and with a generation branch (`generator_depth`).
        mask_ratio: float in `[0, 1)`. Share of the patches to hide, of those
            behind the first ones.
        num_kept: int. How many tokens in front are never hidden.
        seed: optional int. Seed of the masks.
        **kwargs: further arguments of `keras.Model`.

    Input shape:
        `(batch, points, 3)`, and optionally `hidden`, a boolean mask
        `(num_groups,)`, true for tokens that only see themselves. By default
        it is drawn, one for the whole batch.

    Output shape:
        dict of `"generated"` and `"target"`
        `(batch, num_groups, group_size, 3)`, relative to the patches'
        centres, and `"centers"` `(batch, num_groups, 3)`.

    Raises:
        ValueError: if the backbone has a fine-tuning method or no generation
            branch, or `mask_ratio` is out of range.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointGPTBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, generator_depth=1
    )
    model = keras_pointpeft.models.GenerativePretrainer(backbone)
    model.compile("adamw")
    model.fit(np.random.rand(64, 512, 3), epochs=1)
    backbone.save_to_preset("my_backbone")
    ```
    """

    config_names = ("mask_ratio", "num_kept", "seed")

    def __init__(
        self, backbone, mask_ratio=0.7, num_kept=10, seed=None, **kwargs
    ):
        super().__init__(backbone, seed=seed, **kwargs)
        if not getattr(backbone, "generator_depth", 0):
            raise ValueError(
                "Generative pre-training needs a `PointGPTBackbone` with "
                "`generator_depth` of at least 1. Received: a "
                f"{type(backbone).__name__} without a generation branch"
            )
        if not 0 <= mask_ratio < 1:
            raise ValueError(
                "`mask_ratio` must lie in [0, 1). "
                f"Received: mask_ratio={mask_ratio}"
            )
        self.mask_ratio = mask_ratio
        self.num_kept = num_kept
        free = max(backbone.num_groups - num_kept, 0)
        self.num_masked = int(free * mask_ratio)

        # All but its class token and norm.
        get = backbone.get_layer
        self.patches = get("patches")
        self.order = get("order")
        self.patch_encoder = get("patch_encoder")
        self.position = get("position")
        self.start_token = get("start_token")
        self.blocks = [get(f"block_{i}") for i in range(backbone.depth)]
        self.norm = get("norm")
        self.generator = get("generator")
        self.built = True

    def call(self, points, hidden=None, training=False):
        patches = self.order(self.patches(points))
        centers = patches["centers"]
        if hidden is None:
            hidden = self.draw_mask()
        hidden = ops.cast(hidden, "bool")
        own = np.eye(self.backbone.num_groups, dtype=bool)
        mask = ops.logical_or(ops.logical_not(hidden)[None], own)[None]
        tokens = self.patch_encoder(patches["neighborhoods"], training=training)
        # The last patch is generated, not seen.
        x, positions = self.start_token(
            tokens[:, :-1], self.position(centers[:, :-1])
        )
        for block in self.blocks:
            x = block(x + positions, attention_mask=mask, training=training)
        generated = self.generator(
            self.norm(x), centers, attention_mask=mask, training=training
        )
        return {
            "generated": generated,
            "target": patches["neighborhoods"],
            "centers": centers,
        }

    def draw_mask(self):
        """Draws which tokens to hide: booleans `(num_groups,)`."""
        groups = self.backbone.num_groups
        order = random.uniform((groups,), self.seed_generator)
        # Adding 1 ranks the tokens in front behind all others, so that they
        # are never hidden.
        front = np.arange(groups) < self.num_kept
        front = ops.convert_to_tensor(front.astype("float32"))
        rank = ops.argsort(ops.argsort(order + front))
        return rank < self.num_masked

    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        """Both chamfer distances of generated and true patches, summed."""
        return generation_loss(y_pred["generated"], y_pred["target"])

    def drawn_layers(self):
        return (self.patch_encoder, *self.blocks, self.generator)
