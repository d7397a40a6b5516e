"""Names of PointGPT, and of DAPT's published version of it."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap

# The sizes B and L have one more layer at the beginning.
DEEP_PATCH_ENCODER = {
    r"patch_encoder/conv0": "encoder.first_conv.0",
    r"patch_encoder/norm0": "encoder.first_conv.1",
    r"patch_encoder/conv1": "encoder.first_conv.3",
    r"patch_encoder/norm1": "encoder.first_conv.4",
    r"patch_encoder/conv2": "encoder.first_conv.6",
}


def _blocks(ours, theirs):
    """A run of blocks, with the fused projection that has names of its own."""
    layers = rf"{theirs}.layers.\1"
    modules = {
        rf"{ours}block_(\d+)/norm1": rf"{layers}.ln_1",
        rf"{ours}block_(\d+)/norm2": rf"{layers}.ln_2",
        rf"{ours}block_(\d+)/proj": rf"{layers}.attn.out_proj",
        rf"{ours}block_(\d+)/fc1": rf"{layers}.mlp.0",
        rf"{ours}block_(\d+)/fc2": rf"{layers}.mlp.2",
        rf"{ours}norm": f"{theirs}.ln_f",
    }
    parameters = {
        rf"{ours}block_(\d+)/qkv/kernel": rf"{layers}.attn.in_proj_weight",
        rf"{ours}block_(\d+)/qkv/bias": rf"{layers}.attn.in_proj_bias",
    }
    return NameMap(modules, parameters)


POINT_GPT = (
    NameMap(
        {
            **point_mae.PATCH_ENCODER,
            r"class_norm": "blocks.cls_norm",
            r"generator/points": "generator_blocks.increase_dim.0",
            **{k: f"blocks.{v}" for k, v in point_mae.HEAD.items()},
        },
        {
            # Swapped in the published model, and so here.
            r"class_tokens/token": "cls_token",
            r"class_tokens/position": "cls_pos",
            r"start_token/token": "blocks.sos",
            r"start_token/position": "sos_pos",
        },
    )
    | _blocks("", "blocks")
    | _blocks("generator/", "generator_blocks")
)
POINT_GPT_DEEP = POINT_GPT | NameMap(DEEP_PATCH_ENCODER, {})

# What the published classifiers have, and do not use.
UNREAD = {
    r"^norm\.(weight|bias)$": "no published classifier reads it",
    r"^blocks\.increase_dim\.": "no published classifier reads it",
    r"^generator_blocks\.sos$": "the published generator does not read it",
}

_LAYER = r"blocks.layers.\1"
_SITES = {"norm1": 1, "norm2": 2, "prompt/transform": 3, "fc1": 4, "fc2": 5}
_ADAPTER = {
    "norm": "adapter_layer_norm_before",
    "scale": "scale",
    "down": "down_proj",
    "up": "up_proj",
}

DAPT = NameMap(
    {
        rf"block_(\d+)/tuner/adapter/{ours}": f"{_LAYER}.adapt_mlp.{theirs}"
        for ours, theirs in _ADAPTER.items()
    },
    {
        rf"block_(\d+)/tuner/{site}/{p}": f"{_LAYER}.tfts_{p}_{number}"
        for site, number in _SITES.items()
        for p in ("gamma", "beta")
    },
)


def names_for(backbone):
    """The `NameMap` of a PointGPT of this size."""
    deep = len(backbone.encoder_dims) == 4
    return POINT_GPT_DEEP if deep else POINT_GPT
