"""Names of ReCon."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap

_BLOCK = r"block_(\d+)/contrast"

RECON = point_mae.POINT_MAE | NameMap(
    {
        rf"{_BLOCK}/(norm1|norm2)": r"blocks.blocks.\1.\2_contrast",
        rf"{_BLOCK}/query": r"blocks.blocks.\1.attn_contrast.q",
        rf"{_BLOCK}/key_value": r"blocks.blocks.\1.attn_contrast.kv",
        rf"{_BLOCK}/proj": r"blocks.blocks.\1.attn_contrast.proj",
        rf"{_BLOCK}/(fc1|fc2)": r"blocks.blocks.\1.mlp_contrast.\2",
    },
    {
        r"image_token/token": "img_token",
        r"image_token/position": "img_pos",
        r"text_token/token": "text_token",
        r"text_token/position": "text_pos",
    },
)
