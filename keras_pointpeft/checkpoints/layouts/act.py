"""Names of ACT: Point-MAE's, with a pre-training of its own."""

from keras_pointpeft.checkpoints.layouts.point_mae import POINT_MAE
from keras_pointpeft.checkpoints.layouts.registry import PLAIN
from keras_pointpeft.checkpoints.layouts.registry import PRETRAINING
from keras_pointpeft.checkpoints.layouts.registry import TEACHER
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import TOKENS_CLS

register_backbone(
    "ACTBackbone",
    POINT_MAE,
    (
        Source(
            "ACT, pre-trained",
            PLAIN,
            (r"^ACT_encoder\.",),
            "ACT_encoder.",
            {
                r"^mask_token$": PRETRAINING,
                r"^ACT_encoder\.(lm_head|cls_head)\.": PRETRAINING,
                r"^(proj_head|decoder_pos_embed|ACT_decoder)\.": PRETRAINING,
                r"^dvae_tokenizer\.": TEACHER,
            },
        ),
    ),
    prefix="ACT_encoder.",
    segmentation=TOKENS_CLS,
)
