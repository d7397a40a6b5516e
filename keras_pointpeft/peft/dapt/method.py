"""DAPT: dynamic adapter meets prompt tuning.

[Zhou et al., CVPR 2024](https://arxiv.org/abs/2403.01439).
"""

from keras_pointpeft.peft.dapt.block import DAPTTuner
from keras_pointpeft.peft.dapt.block import check_scale
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.method import check_sites
from keras_pointpeft.peft.parts import SITES
from keras_pointpeft.peft.parts import FeatureTransform
from keras_pointpeft.peft.parts import block_sites
from keras_pointpeft.serialization import serializable


@serializable
class DAPT(PeftMethod):
    """Dynamic adapter, internal prompts and feature transforms.

    [DAPT](https://arxiv.org/abs/2403.01439) freezes the backbone and trains,
    in every block, a `DynamicAdapter` beside the MLP, an `InternalPrompt`
    made from its output and a `FeatureTransform` after each linear layer and
    norm; beside them the class token, its position and the head. Position
    embeddings are added once, before the first block.

    Args:
        rank: int. Width of the adapters' bottleneck.
        dropout: float. Dropout rate inside the adapters.
        class_token: how the head reads the class token: None or `"first"`.
        prompt_token: how the head reads the prompts: None, `"mean"` or
            `"max"`, or `"with_patches"` to pool them with the patch tokens.
        patch_token: how the head reads the patch tokens: None, `"mean"` or
            `"max"`. (The published code offers None and `"max"`.)
        position: `"once"`, None to add the position before every block as
            the backbone itself may do, or `"last"` to add it before every
            block to as many tokens at the end of the sequence, as the
            published code for PointGPT does; the positions of the class
            tokens then move on to the prompts.
        sites: tuple of strings. Where feature transforms stand: after
            `"patches"` (the patch encoder), in every block after `"norm1"`,
            `"qkv"`, `"proj"`, `"norm2"`, `"fc1"` and `"fc2"`, and after the
            `"final"` norm.
        mlp_reads: `"normalized"`, or `"tokens"` to have the MLP read the
            tokens as they are before its norm, as the published code for
            PointGPT does; the norm then serves the adapter alone.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.
        scale_start: how the adapters' scales start, see `DynamicAdapter`:
            `"random"`, as published, or `"one"`.
        scale_leak: float. The part of the gradient that a scale of 0 lets
            through, likewise; 0 as published.
        scale_step: float. The part of the optimizer's step that the scales
            move by, likewise; 1 as published.
        dynamic_scale: bool. Whether adapters scale each token by itself. It
            and the next are there to tell what a part of the method gives;
            published files have both.
        internal_prompts: bool. Whether blocks make prompts. Without them the
            head reads none, whatever `prompt_token` is.

    Raises:
        ValueError: for an unknown `position`, `mlp_reads`, `frozen_bn` or
            `scale_start`, for a `scale_leak` or a `scale_step` out of its
            range, for one of the three without a dynamic scale, and by
            `merged`, for what depends on the tokens.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.DAPT(rank=64)
    )
    ```
    """

    training_only = ("dropout", "scale_start", "scale_leak")
    trained = WITH_CLASS_TOKEN
    components = {
        "dynamic adapter": r"(^|/)tuner[^/]*/adapter/",
        "internal prompt": r"(^|/)tuner[^/]*/prompt/",
        "feature transforms": ADDED,
        "class token": r"(^|/)class_(tokens|norm)/",
    }

    def __init__(
        self,
        rank=64,
        dropout=0.0,
        class_token="first",
        prompt_token="mean",
        patch_token="max",
        position="once",
        sites=SITES,
        mlp_reads="normalized",
        frozen_bn="inference",
        scale_start="random",
        scale_leak=0.0,
        scale_step=1.0,
        dynamic_scale=True,
        internal_prompts=True,
    ):
        if position not in ("once", "last", None):
            raise ValueError(
                "`position` must be 'once', 'last' or None. "
                f"Received: position={position!r}"
            )
        if mlp_reads not in ("normalized", "tokens"):
            raise ValueError(
                "`mlp_reads` must be 'normalized' or 'tokens'. "
                f"Received: mlp_reads={mlp_reads!r}"
            )
        self.rank = check_positive("rank", rank)
        self.dropout = dropout
        self.class_token = class_token
        self.prompt_token = prompt_token
        self.patch_token = patch_token
        self.position = position
        self.sites = check_sites(sites, SITES)
        self.mlp_reads = mlp_reads
        check_scale(scale_start, scale_leak, scale_step, dynamic_scale)
        self.scale_start = scale_start
        self.scale_leak = scale_leak
        self.scale_step = scale_step
        self.dynamic_scale = dynamic_scale
        self.internal_prompts = internal_prompts
        super().__init__(frozen_bn)

    @classmethod
    def effective(cls, config):
        if not config.get("internal_prompts", True):
            config = {**config, "prompt_token": None}
        return config

    @property
    def pooling(self):
        prompts = self.prompt_token if self.internal_prompts else None
        return {
            "class_token": self.class_token,
            "prompt_token": prompts,
            "patch_token": self.patch_token,
        }

    def patch_tuner(self, where):
        if "patches" not in self.sites:
            return None
        return FeatureTransform(**where.layer)

    def block_tuner(self, where):
        return DAPTTuner(
            where.mlp_ratio,
            self.rank,
            self.dropout,
            where.num_class_tokens,
            block_sites(self.sites),
            self.mlp_reads,
            self.scale_start,
            self.scale_leak,
            self.scale_step,
            self.dynamic_scale,
            self.internal_prompts,
            **where.layer,
        )

    def norm_tuner(self, where):
        if "final" not in self.sites:
            return None
        return FeatureTransform(**where.layer)

    def merged(self, partial=False):
        if not partial:
            raise ValueError(
                "DAPT's adapters and prompts depend on the tokens and cannot "
                "be merged. Its transforms can: `partial=True` folds these "
                "and leaves the rest. Received: partial=False"
            )
        config = self.get_config()
        return type(self)(**{**config, "sites": ()})
