"""Names of IDPT's and VPT's published versions of Point-MAE."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap

_PROMPT = r"tuner_sequence/prompt"
_BLOCK = "blocks.cls.blocks.blocks.0"

IDPT = point_mae.POINT_MAE | NameMap(
    {
        rf"{_PROMPT}/edge(\d)/linear": r"blocks.cls.conv\1.0",
        rf"{_PROMPT}/edge(\d)/norm": r"blocks.cls.bn\1",
        rf"{_PROMPT}/linear": "blocks.cls.conv5.0",
        rf"{_PROMPT}/norm": "blocks.cls.bn5",
        rf"{_PROMPT}/block/(norm1|norm2)": rf"{_BLOCK}.\1",
        rf"{_PROMPT}/block/(qkv|proj)": rf"{_BLOCK}.attn.\1",
        rf"{_PROMPT}/block/(fc1|fc2)": rf"{_BLOCK}.mlp.\1",
    },
    {r"tuner_sequence/position": "prompt_pos"},
)
# Two of the modules have a second norm in its place, and do not use the one.
IDPT_SMALL = IDPT | NameMap({rf"{_PROMPT}/norm": "blocks.cls.conv5.1"}, {})
UNREAD = {r"^blocks\.cls\.bn5\.": "no published module of this kind uses it"}

VPT = point_mae.POINT_MAE | NameMap(
    {},
    {
        r"block_(\d+)/tuner/embeddings": r"cls_prompt_list.\1",
        r"block_(\d+)/tuner/positions": r"cls_prompt_pos_list.\1",
    },
)
