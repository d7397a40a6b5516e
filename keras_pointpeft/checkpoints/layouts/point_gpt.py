"""Names of PointGPT."""

import numpy as np

from keras_pointpeft.checkpoints.layouts.point_mae import PATCH_ENCODER
from keras_pointpeft.checkpoints.layouts.registry import NO_CLASS_TOKEN
from keras_pointpeft.checkpoints.layouts.registry import POST_PRETRAINED
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import TOKENS
from keras_pointpeft.checkpoints.names import NameMap

# The sizes B and L have one more layer at the beginning.
DEEP_PATCH_ENCODER = {
    "patch_encoder/conv0": "encoder.first_conv.0",
    "patch_encoder/norm0": "encoder.first_conv.1",
    "patch_encoder/conv1": "encoder.first_conv.3",
    "patch_encoder/norm1": "encoder.first_conv.4",
    "patch_encoder/conv2": "encoder.first_conv.6",
}
BLOCK = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "proj": "attn.out_proj",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
}
# The projection of queries, keys and values has names of its own.
QKV = {
    "qkv/kernel": "attn.in_proj_weight",
    "qkv/bias": "attn.in_proj_bias",
}


def _blocks(names, ours, theirs):
    return {
        f"{ours}block_{{i}}/{k}": f"{theirs}.layers.{{i}}.{v}"
        for k, v in names.items()
    }


MODULES = {
    **PATCH_ENCODER,
    **_blocks(BLOCK, "", "blocks"),
    "norm": "blocks.ln_f",
    "class_norm": "blocks.cls_norm",
    **_blocks(BLOCK, "generator/", "generator_blocks"),
    "generator/norm": "generator_blocks.ln_f",
    "generator/points": "generator_blocks.increase_dim.0",
}
PARAMETERS = {
    **_blocks(QKV, "", "blocks"),
    **_blocks(QKV, "generator/", "generator_blocks"),
    # The published model swaps the positions of these two tokens.
    "class_tokens/token": "cls_token",
    "class_tokens/position": "cls_pos",
    "start_token/token": "blocks.sos",
    "start_token/position": "sos_pos",
}
# What the published models have, and do not use.
UNREAD = {
    r"^norm\.(weight|bias)$": "no published classifier reads it",
    r"^blocks\.increase_dim\.": "no published classifier reads it",
    r"^generator_blocks\.sos$": "the published generator does not read it",
}


def _unread(model):
    backbone = getattr(model, "backbone", model)
    dim, points = backbone.dim, 3 * backbone.group_size
    state = {
        "norm.weight": np.ones(dim),
        "norm.bias": np.zeros(dim),
        "blocks.increase_dim.0.weight": np.zeros((points, dim, 1)),
        "blocks.increase_dim.0.bias": np.zeros(points),
    }
    if backbone.generator_depth:
        state["generator_blocks.sos"] = np.zeros(dim)
    return state


def layout(backbone):
    """The `Layout` of a PointGPT of this size."""
    deep = DEEP_PATCH_ENCODER if len(backbone.encoder_dims) == 4 else {}
    return Layout(
        NameMap({**MODULES, **deep}, PARAMETERS),
        unread=UNREAD,
        axes={
            r"(first|second)_conv\.\d+\.weight$": 3,
            r"increase_dim\.0\.weight$": 3,
            r"(^|\.)blocks\.sos$": 1,
        },
        extra=(_unread,),
    )


# Of its segmentation model, what its trunk has and the task does not read.
SEGMENTATION = TOKENS | Layout(
    NameMap({}),
    unread={
        r"^blocks\.increase_dim\.": "no published model reads it",
        r"^blocks\.ln_f\.": "for the generation branch alone",
        r"^generator_blocks\.": "what it loses is thrown away",
    },
)
# The classes of the labelled sets that the post-pre-training joins.
POST_CLASSES = 87


def _post(state):
    head = state.get("blocks.cls_head_finetune.8.weight")
    return head is not None and head.shape[:1] == (POST_CLASSES,)


GPT = ("PointGPTBackbone",)
LAYERS = (r"^blocks\.layers\.\d+\.ln_1\.",)
register_backbone(
    "PointGPTBackbone",
    layout,
    (
        Source(
            "PointGPT, pre-trained",
            GPT,
            (r"^GPT_Transformer\.",),
            "GPT_Transformer.",
            initial={r"^class_(tokens|norm)/": NO_CLASS_TOKEN},
        ),
        Source(
            "PointGPT, post-pre-trained",
            GPT,
            LAYERS,
            pretrained=False,
            test=_post,
            stage=POST_PRETRAINED,
        ),
        Source(
            "PointGPT, fine-tuned",
            GPT,
            LAYERS,
            pretrained=False,
            test=lambda state: not _post(state),
        ),
    ),
    prefix="GPT_Transformer.",
    head="blocks.cls_head_finetune",
    segmentation=SEGMENTATION,
)
