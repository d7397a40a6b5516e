"""Names of GAPrompt's published version of Point-MAE."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap

_BLOCK = r"blocks.blocks.\1"
_TUNER = r"block_(\d+)/tuner"
_NET = "shift_net"
_LEVELS = {
    "down1": "abstraction_level1",
    "down2": "abstraction_level2",
    "up1": "propagation1",
    "up2": "propagation2",
}

GA_PROMPT = point_mae.POINT_MAE | NameMap(
    {
        rf"{_TUNER}/geometry/norm": f"{_BLOCK}.out_transform.0",
        rf"{_TUNER}/norm": f"{_BLOCK}.adapter.layer_norm",
        rf"{_TUNER}/adapter/down": f"{_BLOCK}.adapter.ln1",
        rf"{_TUNER}/adapter/up": f"{_BLOCK}.adapter.ln2",
        r"tuner_cloud/shift1": f"{_NET}.mlp_position.0",
        r"tuner_cloud/shift2": f"{_NET}.mlp_position.3",
        r"tuner_cloud/code": "shape_feature_mlp.0",
        r"tuner_geometry/shape": "shape_feature_mlp.3",
        **{
            rf"tuner_cloud/{ours}/{layer}{i + 1}": f"{_NET}.{theirs}.{kind}.{i}"
            for ours, theirs in _LEVELS.items()
            for layer, kind in (("fc", "mlp_convs"), ("norm", "mlp_bns"))
            for i in range(3)
        },
    },
    {
        rf"{_TUNER}/embeddings": f"{_BLOCK}.prompt_embeddings",
        r"tuner_geometry/coordinates": "prompt_cor",
        r"tuner_cloud/points": "point_prompt.points",
    },
)
UNREAD = {
    r"\.adapter\.scale\.": "the published adapter does not use it",
    r"\.scaler[12]$": "no published configuration uses it",
    r"\.prompt_embeddings$": "of a block without prompts",
}
