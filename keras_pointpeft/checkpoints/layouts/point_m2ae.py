"""Names of Point-M2AE, and of its pre-training."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.layouts import point_peft
from keras_pointpeft.checkpoints.names import NameMap

# Their modules of stage `i`, as pre-training and classifiers name them.
ENCODER = {
    "patch_encoder": "h_encoder.token_embed.{i}",
    "position": "h_encoder.encoder_pos_embeds.{i}",
    "block": "h_encoder.encoder_blocks.{i}.blocks.{j}",
}
# The same in the published version of Point-PEFT.
POINT_PEFT_ENCODER = {
    "patch_encoder": "encoders.{i}",
    "position": "pos_embeds.{i}",
    "block": "blocks.{i}.blocks.{j}",
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


def point_peft_names(backbone):
    """The `NameMap` of a classifier tuned with Point-PEFT.

    Returns:
        A `NameMap` by which a checkpoint is read, and one by which parameters
        are compared; see `keras_pointpeft.checkpoints.layouts.point_peft`.
    """
    modules, parameters, differences = {}, {}, {}
    for i in range(len(backbone.depths)):
        for j, number in enumerate(backbone.blocks_of(i)):

            def here(names):
                block = POINT_PEFT_ENCODER["block"].format(i=i, j=j)
                return {
                    ours.replace(r"(\d+)", str(number), 1): (
                        theirs.replace(r"blocks.blocks.\1", block).replace(
                            r"\2", r"\1"
                        )
                    )
                    for ours, theirs in names.items()
                    if ours.startswith("block_")
                }

            modules |= here(point_peft.MODULES)
            parameters |= here(point_peft.PARAMETERS)
            differences |= here(point_peft.DIFFERENCES)
        shared = f"tuner_geometry_{i}/attention"
        modules[f"{shared}/norm"] = f"blocks.{i}.norm3"
        modules[f"{shared}/(qkv|proj)"] = rf"blocks.{i}.attn1.\1"
    parameters["tuner_geometry_0/prompt_coordinates"] = "prompt_cor"
    differences |= {
        ours: theirs
        for ours, theirs in point_peft.DIFFERENCES.items()
        if ours.startswith("tuner_norm")
    }
    base = encoder_names(backbone, POINT_PEFT_ENCODER)
    base = base | NameMap({r"norm": "norm", **point_mae.HEAD}, {})
    return point_peft.both_names(base, modules, parameters, differences)


def pretraining_names(backbone):
    """The `NameMap` of a `HierarchicalMaskedAutoencoder`."""
    last = len(backbone.depths) - 1
    blocks = r"\w+/decoder_block_(\d+)_(\d+)"
    prop = "token_prop.0"
    residual = f"{prop}.extraction.operation"
    modules = {
        r"norm": f"h_encoder.encoder_norms.{last}",
        r"\w+/norm_(\d+)": r"h_encoder.encoder_norms.\1",
        r"\w+/decoder_position_(\d+)/fc1": r"decoder_pos_embeds.\1.0",
        r"\w+/decoder_position_(\d+)/fc2": r"decoder_pos_embeds.\1.2",
        rf"{blocks}/(norm1|norm2)": r"h_decoder.\1.blocks.\2.\3",
        rf"{blocks}/(qkv|proj)": r"h_decoder.\1.blocks.\2.attn.\3",
        rf"{blocks}/(fc1|fc2)": r"h_decoder.\1.blocks.\2.mlp.\3",
        r"\w+/propagation/fuse": f"{prop}.fuse.net.0",
        r"\w+/propagation/fuse_norm": f"{prop}.fuse.net.1",
        r"\w+/propagation/conv0": f"{residual}.0.net1.0",
        r"\w+/propagation/norm0": f"{residual}.0.net1.1",
        r"\w+/propagation/conv1": f"{residual}.0.net2.0",
        r"\w+/propagation/norm1": f"{residual}.0.net2.1",
        r"\w+/decoder_norm": "decoder_norm",
        r"\w+/rebuild": "rec_head",
    }
    rest = NameMap(modules, {r"\w+/mask_token": "mask_token"})
    return encoder_names(backbone) | rest
