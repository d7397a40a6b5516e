"""Names of Point-M2AE, and of its pre-training."""

from keras_pointpeft.checkpoints import point_mae
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
        for ours, name in point_mae.PATCH_ENCODER.items():
            ours = ours.replace("patch_encoder", f"patch_encoder_{i}")
            modules[ours] = f"{encoder}.{name.removeprefix('encoder.')}"
        position = theirs["position"].format(i=i)
        modules[f"position_{i}/fc1"] = f"{position}.0"
        modules[f"position_{i}/fc2"] = f"{position}.2"
        for j, number in enumerate(backbone.blocks_of(i)):
            block = theirs["block"].format(i=i, j=j)
            modules |= {
                rf"block_{number}/(norm1|norm2)": rf"{block}.\1",
                rf"block_{number}/(qkv|proj)": rf"{block}.attn.\1",
                rf"block_{number}/(fc1|fc2)": rf"{block}.mlp.\1",
            }
    return NameMap(modules, {})


def classifier_names(backbone):
    """The `NameMap` of a classifier with this backbone."""
    rest = NameMap({r"norm": "norm", **point_mae.HEAD}, {})
    return encoder_names(backbone) | rest
