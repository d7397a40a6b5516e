"""Names of Point-MAE, which most others have too."""

from keras_pointpeft.checkpoints.layouts.registry import NO_CLASS_TOKEN
from keras_pointpeft.checkpoints.layouts.registry import PLAIN
from keras_pointpeft.checkpoints.layouts.registry import PRETRAINING
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import TOKENS
from keras_pointpeft.checkpoints.names import NameMap

PATCH_ENCODER = {
    "patch_encoder/conv1": "encoder.first_conv.0",
    "patch_encoder/norm1": "encoder.first_conv.1",
    "patch_encoder/conv2": "encoder.first_conv.3",
    "patch_encoder/conv3": "encoder.second_conv.0",
    "patch_encoder/norm2": "encoder.second_conv.1",
    "patch_encoder/conv4": "encoder.second_conv.3",
}
POSITION = {
    "position/fc1": "pos_embed.0",
    "position/fc2": "pos_embed.2",
}
BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "qkv": "attn.qkv",
    "proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
BLOCKS = {
    f"block_{{i}}/{ours}": f"blocks.blocks.{{i}}.{theirs}"
    for ours, theirs in BLOCK.items()
}
CLASS_TOKENS = {
    "class_tokens/token": "cls_token",
    "class_tokens/position": "cls_pos",
}
# A linear layer where the patches have another width than the tokens.
PROJECTION = {"projection": "reduce_dim"}

POINT_MAE = Layout(
    NameMap(
        {
            **PATCH_ENCODER,
            **PROJECTION,
            **POSITION,
            **BLOCKS,
            "norm": "norm",
        },
        CLASS_TOKENS,
    ),
    # Point-wise convolutions of [out, in, 1].
    axes={r"(first|second)_conv\.\d+\.weight$": 3},
)

DECODER = {
    r"^mask_token$": PRETRAINING,
    r"^decoder_pos_embed\.": PRETRAINING,
    r"^increase_dim\.": PRETRAINING,
    r"^MAE_decoder\.": PRETRAINING,
}


def coded(state):
    """Whether positions are made of a code of the coordinates."""
    for prefix in ("", "MAE_encoder."):
        kernel = state.get(f"{prefix}pos_embed.0.weight")
        if kernel is not None and kernel.shape[-1:] != (3,):
            return True
    return False


def plain(state):
    return not coded(state)


register_backbone(
    "PointMAEBackbone",
    POINT_MAE,
    (
        Source(
            "Point-MAE, pre-trained",
            PLAIN,
            (r"^MAE_encoder\.",),
            "MAE_encoder.",
            DECODER,
            {r"^class_tokens/": NO_CLASS_TOKEN},
            without=(r"_contrast\.", r"\.mask_pos_token$"),
            test=plain,
        ),
        Source(
            "Point-MAE or ACT, fine-tuned",
            PLAIN,
            (r"^blocks\.blocks\.\d+\.norm1\.",),
            pretrained=False,
            without=(r"_contrast\.", r"^reduce_dim\.", r"^h_encoder\."),
            test=plain,
        ),
    ),
    prefix="MAE_encoder.",
    segmentation=TOKENS,
)
