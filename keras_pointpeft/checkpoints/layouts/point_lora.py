"""Names of PointLoRA's published version of Point-MAE."""

from keras_pointpeft.checkpoints.layouts.ppt import shared_mlps
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

ATTENTION = "blocks.blocks.{i}.attn"
TUNER = "block_{i}/tuner"

POINT_LORA = Layout(
    NameMap(
        {
            # The published code wraps these layers, which changes their names.
            "block_{i}/qkv": f"{ATTENTION}.qkv.linear",
            "block_{i}/proj": f"{ATTENTION}.proj.linear",
            "tuner_sequence/predictor/fc1": "lora_mask_predictor.fc1",
            "tuner_sequence/predictor/fc2": "lora_mask_predictor.fc2",
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
            f"{TUNER}/qkv/down/kernel": f"{ATTENTION}.qkv.lora_A",
            f"{TUNER}/qkv/up/kernel": f"{ATTENTION}.qkv.lora_B",
            f"{TUNER}/qkv_gate": f"{ATTENTION}.qkv.weight",
            f"{TUNER}/proj/down/kernel": f"{ATTENTION}.proj.lora_A",
            f"{TUNER}/proj/up/kernel": f"{ATTENTION}.proj.lora_B",
            f"{TUNER}/proj_gate": f"{ATTENTION}.proj.weight",
        },
    )
)
register_method(
    "PointLoRA",
    "PointLoRA",
    POINT_LORA,
    r"lora_A",
    mode={"reference": True},
    trunks={"ReConBackbone": "PointMAEBackbone"},
)
