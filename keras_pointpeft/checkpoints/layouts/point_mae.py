"""Names of Point-MAE and of the methods' published versions of it."""

from keras_pointpeft.checkpoints.names import NameMap

PATCH_ENCODER = {
    r"patch_encoder/conv1": "encoder.first_conv.0",
    r"patch_encoder/norm1": "encoder.first_conv.1",
    r"patch_encoder/conv2": "encoder.first_conv.3",
    r"patch_encoder/conv3": "encoder.second_conv.0",
    r"patch_encoder/norm2": "encoder.second_conv.1",
    r"patch_encoder/conv4": "encoder.second_conv.3",
}
POSITION = {
    r"position/fc1": "pos_embed.0",
    r"position/fc2": "pos_embed.2",
}
BLOCKS = {
    r"block_(\d+)/(norm1|norm2)": r"blocks.blocks.\1.\2",
    r"block_(\d+)/(qkv|proj)": r"blocks.blocks.\1.attn.\2",
    r"block_(\d+)/(fc1|fc2)": r"blocks.blocks.\1.mlp.\2",
}
HEAD = {
    r"head/fc1": "cls_head_finetune.0",
    r"head/norm1": "cls_head_finetune.1",
    r"head/fc2": "cls_head_finetune.4",
    r"head/norm2": "cls_head_finetune.5",
    r"head/logits": "cls_head_finetune.8",
}
CLASS_TOKENS = {
    r"class_tokens/token": "cls_token",
    r"class_tokens/position": "cls_pos",
}

POINT_MAE = NameMap(
    {**PATCH_ENCODER, **POSITION, **BLOCKS, r"norm": "norm", **HEAD},
    CLASS_TOKENS,
)


def _transforms():
    """TFTS parameters of DAPT: ours by site, theirs by number."""
    sites = {
        "block_{i}/tuner/norm1": "blocks.blocks.{i}.tfts_{p}_1",
        "block_{i}/tuner/norm2": "blocks.blocks.{i}.tfts_{p}_2",
        "block_{i}/tuner/prompt/transform": "blocks.blocks.{i}.tfts_{p}_3",
        "block_{i}/tuner/qkv": "blocks.blocks.{i}.attn.tfts_{p}_1",
        "block_{i}/tuner/proj": "blocks.blocks.{i}.attn.tfts_{p}_2",
        "block_{i}/tuner/fc1": "blocks.blocks.{i}.mlp.tfts_{p}_1",
        "block_{i}/tuner/fc2": "blocks.blocks.{i}.mlp.tfts_{p}_2",
        "tuner_patches": "tfts_{p}_1",
        "tuner_norm": "tfts_{p}_2",
    }
    return {
        ours.format(i=r"(\d+)") + "/" + p: theirs.format(i=r"\1", p=p)
        for ours, theirs in sites.items()
        for p in ("gamma", "beta")
    }


_ADAPTER = r"blocks.blocks.\1.Adapter_MLP"

DAPT = NameMap(
    {
        r"block_(\d+)/tuner/adapter/norm": (
            f"{_ADAPTER}.adapter_layer_norm_before"
        ),
        r"block_(\d+)/tuner/adapter/scale": f"{_ADAPTER}.scale",
        r"block_(\d+)/tuner/adapter/down": f"{_ADAPTER}.down_proj",
        r"block_(\d+)/tuner/adapter/up": f"{_ADAPTER}.up_proj",
    },
    _transforms(),
)
