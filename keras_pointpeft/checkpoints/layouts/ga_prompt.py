"""Names of GAPrompt's published version of Point-MAE."""

import numpy as np

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

BLOCK = "blocks.blocks.{i}"
TUNER = "block_{i}/tuner"
NET = "shift_net"
LEVELS = {
    "down1": "abstraction_level1",
    "down2": "abstraction_level2",
    "up1": "propagation1",
    "up2": "propagation2",
}
UNREAD = {
    r"\.adapter\.scale\.": "the published adapter does not use it",
    r"\.scaler[12]$": "no published configuration uses it",
    r"\.prompt_embeddings$": "of a block without prompts",
}


def _unread(model):
    backbone = model.backbone
    state = {}
    for i in range(backbone.depth):
        block = f"blocks.blocks.{i}"
        state |= {
            f"{block}.adapter.scale.weight": np.zeros((1, backbone.dim)),
            f"{block}.adapter.scale.bias": np.zeros(1),
            f"{block}.scaler1": np.zeros(1),
            f"{block}.scaler2": np.zeros(1),
        }
        if i >= backbone.peft.prompt_blocks:
            shape = (backbone.peft.num_prompts, backbone.dim)
            state[f"{block}.prompt_embeddings"] = np.zeros(shape)
    return state


GA_PROMPT = Layout(
    NameMap(
        {
            f"{TUNER}/geometry/norm": f"{BLOCK}.out_transform.0",
            f"{TUNER}/norm": f"{BLOCK}.adapter.layer_norm",
            f"{TUNER}/adapter/down": f"{BLOCK}.adapter.ln1",
            f"{TUNER}/adapter/up": f"{BLOCK}.adapter.ln2",
            "tuner_cloud/shift1": f"{NET}.mlp_position.0",
            "tuner_cloud/shift2": f"{NET}.mlp_position.3",
            "tuner_cloud/code": "shape_feature_mlp.0",
            "tuner_geometry/shape": "shape_feature_mlp.3",
            **{
                f"tuner_cloud/{ours}/{layer}{i + 1}": (
                    f"{NET}.{theirs}.{kind}.{i}"
                )
                for ours, theirs in LEVELS.items()
                for layer, kind in (("fc", "mlp_convs"), ("norm", "mlp_bns"))
                for i in range(3)
            },
        },
        {
            f"{TUNER}/embeddings": f"{BLOCK}.prompt_embeddings",
            "tuner_geometry/coordinates": "prompt_cor",
            "tuner_cloud/points": "point_prompt.points",
        },
    ),
    unread=UNREAD,
    axes={
        r"abstraction_level\d\.mlp_convs\.\d\.weight$": 4,
        r"shift_net\.propagation\d\.mlp_convs\.\d\.weight$": 3,
        r"^point_prompt\.points$": 3,
    },
    extra=(_unread,),
)
register_method(
    "GAPrompt",
    "GAPrompt",
    GA_PROMPT,
    r"^point_prompt\.",
    mode={"reference": True},
    trunks={"ReConBackbone": "PointMAEBackbone"},
)
