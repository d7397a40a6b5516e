"""Names of GFT's published versions of Point-MAE."""

import numpy as np

from keras_pointpeft.checkpoints.layouts.point_mae import BLOCK
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

ATTENTION = {
    "query_norm": "q_norm",
    "graph_norm": "kv_norm",
    "query": "query",
    "key": "key",
    "value": "value",
    "proj": "proj.0",
}
HEAD = "segmentation_head_cls"
UNUSED = "the published model never calls it"
# The decoder of segmentation and what is behind it.
DECODER = Layout(
    NameMap(
        {
            "decoder/narrow_{i}": f"{HEAD}.reduces.{{i}}",
            **{
                f"decoder/block_{{i}}/{ours}": (
                    f"{HEAD}.transformer_blocks.{{i}}.{theirs}"
                )
                for ours, theirs in BLOCK.items()
            },
            "propagation/fc1": f"{HEAD}.feat_propagate.mlp_convs.0",
            "propagation/fc2": f"{HEAD}.feat_propagate.mlp_convs.1",
            "propagation/norm1": f"{HEAD}.feat_propagate.mlp_bns.0",
            "propagation/norm2": f"{HEAD}.feat_propagate.mlp_bns.1",
            "head/fc1": f"{HEAD}.cls_head.0",
            "head/norm1": f"{HEAD}.cls_head.1",
            "head/fc2": f"{HEAD}.cls_head.4",
            "head/norm2": f"{HEAD}.cls_head.5",
            "head/logits": f"{HEAD}.cls_head.7",
        },
        {"category_feature/table": f"{HEAD}.obj_proj.weight"},
    ),
    unread={r"^prompt_cls_pos$": UNUSED},
    axes={r"feat_propagate\.mlp_convs\.\d\.weight$": 3},
)


def layout(model):
    backbone = getattr(model, "backbone", model)
    dense = hasattr(model, "dense")
    start = "blocks." if dense else ""
    edges = f"{start}edge_conv.conv_blocks"
    last = f"{start}edge_conv.final_conv"
    names = {
        "tuner_tokens_0/linear": f"{last}.0",
        "tuner_tokens_0/norm": f"{last}.1",
    }
    for i in range(len(backbone.peft.graph_dims)):
        names[f"tuner_tokens_0/edge{i + 1}/linear"] = f"{edges}.{i}.0"
        names[f"tuner_tokens_0/edge{i + 1}/norm"] = f"{edges}.{i}.1"
    # Numbered without the blocks that have none.
    every = backbone.peft.every
    for number, i in enumerate(range(0, backbone.depth, every)):
        theirs = f"{start}cross_attn_blocks.{number}"
        for ours, part in ATTENTION.items():
            names[f"block_{i}/tuner/attention/{ours}"] = f"{theirs}.{part}"
    found = Layout(
        NameMap(names, {"tuner_sequence/prompts": f"{start}prompt"}),
        unread={r"(^|\.)cross_attn_blocks\.\d+\.post_norm_layer\.": UNUSED},
        axes={
            r"edge_conv\.conv_blocks\.\d+\.0\.weight$": 4,
            r"edge_conv\.final_conv\.0\.weight$": 3,
            r"(^|\.)prompt$": 3,
        },
        extra=(lambda model: _unused(model, start),),
    )
    return found | DECODER if dense else found


def _unused(model, start):
    """The norms of each cross attention that are not called."""
    backbone = getattr(model, "backbone", model)
    blocks = range(0, backbone.depth, backbone.peft.every)
    found = {}
    for number in range(len(blocks)):
        name = f"{start}cross_attn_blocks.{number}.post_norm_layer"
        found[f"{name}.weight"] = np.ones(backbone.dim)
        found[f"{name}.bias"] = np.zeros(backbone.dim)
    if start:
        found["prompt_cls_pos"] = np.zeros((1, 1, backbone.dim))
    return found


register_method(
    "GFT", "GFT", layout, r"(^|\.)cross_attn_blocks\.\d+\.kv_norm\."
)
