"""Names of PointLoRA's published version of Point-MAE."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.layouts.ppt import shared_mlps
from keras_pointpeft.checkpoints.names import NameMap

_ATTENTION = r"blocks.blocks.\1.attn"

POINT_LORA = point_mae.POINT_MAE | NameMap(
    {
        r"block_(\d+)/(qkv|proj)": rf"{_ATTENTION}.\2.linear",
        r"tuner_sequence/predictor/(fc1|fc2)": r"lora_mask_predictor.\1",
        **shared_mlps(
            {
                "patch_mlp": "prompt_mlp",
                "prompt_mlp": "prompt_pos_mlp",
                "qkv_mlp": "prompt_qkv_mlp",
                "proj_mlp": "prompt_proj_mlp",
            }
        ),
    },
    {
        r"block_(\d+)/tuner/(qkv|proj)/down/kernel": (
            rf"{_ATTENTION}.\2.lora_A"
        ),
        r"block_(\d+)/tuner/(qkv|proj)/up/kernel": rf"{_ATTENTION}.\2.lora_B",
        r"block_(\d+)/tuner/(qkv|proj)_gate": rf"{_ATTENTION}.\2.weight",
    },
)
