"""Names of Point-BERT."""

from keras_pointpeft.checkpoints.layouts.point_mae import POINT_MAE
from keras_pointpeft.checkpoints.layouts.registry import PLAIN
from keras_pointpeft.checkpoints.layouts.registry import PRETRAINING
from keras_pointpeft.checkpoints.layouts.registry import TEACHER
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import GRAPH

MOMENTUM = "the momentum copy of the pre-training"

register_backbone(
    "PointBERTBackbone",
    POINT_MAE,
    (
        Source(
            "Point-BERT, pre-trained",
            ("PointBERTBackbone",),
            (r"^transformer_q\.",),
            "transformer_q.",
            {
                r"^transformer_k\.": MOMENTUM,
                r"^dvae\.": TEACHER,
                r"^queue(_ptr)?$": PRETRAINING,
                r"^transformer_q\.(mask_token$|(lm|cls)_head\.)": PRETRAINING,
            },
        ),
        Source(
            "Point-BERT, fine-tuned",
            ("PointBERTBackbone", *PLAIN),
            (r"^blocks\.blocks\.\d+\.norm1\.", r"^reduce_dim\."),
            pretrained=False,
        ),
    ),
    prefix="transformer_q.",
    segmentation=GRAPH,
)
