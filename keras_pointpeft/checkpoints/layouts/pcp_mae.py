"""Names of PCP-MAE: Point-MAE's, with wider positions."""

from keras_pointpeft.checkpoints.layouts.point_mae import DECODER
from keras_pointpeft.checkpoints.layouts.point_mae import POINT_MAE
from keras_pointpeft.checkpoints.layouts.point_mae import coded
from keras_pointpeft.checkpoints.layouts.registry import NO_CLASS_TOKEN
from keras_pointpeft.checkpoints.layouts.registry import PRETRAINING
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import TOKENS

register_backbone(
    "PCPMAEBackbone",
    POINT_MAE,
    (
        Source(
            "PCP-MAE, pre-trained",
            ("PCPMAEBackbone",),
            (r"^MAE_encoder\.",),
            "MAE_encoder.",
            {
                **DECODER,
                r"^MAE_encoder\.mask_pos_token$": PRETRAINING,
                r"^pred_pos_proj\.": PRETRAINING,
            },
            {r"^class_tokens/": NO_CLASS_TOKEN},
            without=(r"_contrast\.",),
            test=coded,
        ),
        Source(
            "PCP-MAE, fine-tuned",
            ("PCPMAEBackbone",),
            (r"^blocks\.blocks\.\d+\.norm1\.",),
            pretrained=False,
            without=(r"_contrast\.",),
            test=coded,
        ),
    ),
    prefix="MAE_encoder.",
    segmentation=TOKENS,
)
