"""Names of Point-M2AE."""

from keras_pointpeft.checkpoints.layouts.point_mae import BLOCK
from keras_pointpeft.checkpoints.layouts.point_mae import PATCH_ENCODER
from keras_pointpeft.checkpoints.layouts.registry import PRETRAINING
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import STAGES
from keras_pointpeft.checkpoints.names import NameMap

# Their modules of stage `i`, as pre-training and classifiers name them.
ENCODER = {
    "patch_encoder": "h_encoder.token_embed.{i}",
    "position": "h_encoder.encoder_pos_embeds.{i}",
    "block": "h_encoder.encoder_blocks.{i}.blocks.{j}",
}


def encoder_names(backbone, theirs=ENCODER):
    """The `NameMap` of a `PointM2AEBackbone`, without its final norm.

    Args:
        backbone: a `keras_pointpeft.models.PointM2AEBackbone`.
        theirs: dict of their names of `"patch_encoder"`, `"position"` and
            `"block"`, with the stage as `{i}` and the block in it as `{j}`.
    """
    modules = {}
    for i in range(len(backbone.depths)):
        encoder = theirs["patch_encoder"].format(i=i)
        for ours, name in PATCH_ENCODER.items():
            ours = ours.replace("patch_encoder", f"patch_encoder_{i}")
            modules[ours] = f"{encoder}.{name.removeprefix('encoder.')}"
        position = theirs["position"].format(i=i)
        modules[f"position_{i}/fc1"] = f"{position}.0"
        modules[f"position_{i}/fc2"] = f"{position}.2"
        for j, number in enumerate(backbone.blocks_of(i)):
            block = theirs["block"].format(i=i, j=j)
            for ours, name in BLOCK.items():
                modules[f"block_{number}/{ours}"] = f"{block}.{name}"
    return NameMap(modules)


AXES = {r"(first|second)_conv\.\d+\.weight$": 3}


def layout(backbone):
    """The `Layout` of a `PointM2AEBackbone`."""
    names = encoder_names(backbone) | NameMap({"norm": "norm"})
    return Layout(names, axes=AXES)


register_backbone(
    "PointM2AEBackbone",
    layout,
    (
        Source(
            "Point-M2AE, pre-trained",
            ("PointM2AEBackbone",),
            (r"^h_encoder\.", r"^h_decoder\."),
            "",
            {
                r"^h_encoder\.encoder_norms\.": "norms of the pre-training",
                r"^(h_decoder|decoder_|token_prop|rec_head)": PRETRAINING,
                r"^mask_token$": PRETRAINING,
            },
            {r"^norm/": "the pre-training has one norm for each stage instead"},
        ),
        Source(
            "Point-M2AE, fine-tuned",
            ("PointM2AEBackbone",),
            (r"^h_encoder\.",),
            pretrained=False,
            without=(r"^h_decoder\.",),
        ),
        Source(
            "Point-M2AE, tuned with Point-PEFT",
            ("PointM2AEBackbone",),
            (r"^encoders\.\d+\.", r"^blocks\.\d+\.blocks\.\d+\."),
            pretrained=False,
        ),
    ),
    segmentation=STAGES,
)
