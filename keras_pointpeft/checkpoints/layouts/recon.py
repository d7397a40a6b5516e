"""Names of ReCon."""

from keras_pointpeft.checkpoints.layouts.point_mae import DECODER
from keras_pointpeft.checkpoints.layouts.point_mae import POINT_MAE
from keras_pointpeft.checkpoints.layouts.registry import PRETRAINING
from keras_pointpeft.checkpoints.layouts.registry import TEACHER
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import TOKENS
from keras_pointpeft.checkpoints.names import NameMap

# Of the class, image and text tokens, which have weights of their own.
CONTRAST = {
    "norm1": "norm1_contrast",
    "norm2": "norm2_contrast",
    "query": "attn_contrast.q",
    "key_value": "attn_contrast.kv",
    "proj": "attn_contrast.proj",
    "fc1": "mlp_contrast.fc1",
    "fc2": "mlp_contrast.fc2",
}
RECON = POINT_MAE | Layout(
    NameMap(
        {
            f"block_{{i}}/contrast/{ours}": f"blocks.blocks.{{i}}.{theirs}"
            for ours, theirs in CONTRAST.items()
        },
        {
            "image_token/token": "img_token",
            "image_token/position": "img_pos",
            "text_token/token": "text_token",
            "text_token/position": "text_pos",
        },
    )
)

register_backbone(
    "ReConBackbone",
    RECON,
    (
        Source(
            "ReCon, pre-trained",
            ("ReConBackbone",),
            (r"^MAE_encoder\..*_contrast\.",),
            "MAE_encoder.",
            {
                **DECODER,
                r"^(img|text)_proj\.": PRETRAINING,
                r"^(img|text)_encoder\.": TEACHER,
            },
        ),
        Source(
            "ReCon, fine-tuned",
            ("ReConBackbone",),
            (r"^blocks\.blocks\.\d+\.norm1_contrast\.",),
            pretrained=False,
        ),
    ),
    prefix="MAE_encoder.",
    segmentation=TOKENS,
)
