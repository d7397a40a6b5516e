"""Names of Point-PQAE.

Its files carry no licence, so none has been looked at: that its encoder has
Point-MAE's names, as it has its shapes, is what the paper suggests. A file of
other names is refused, with the names that it has.
"""

from keras_pointpeft.checkpoints.layouts.point_mae import POINT_MAE
from keras_pointpeft.checkpoints.layouts.point_mae import plain
from keras_pointpeft.checkpoints.layouts.registry import NO_CLASS_TOKEN
from keras_pointpeft.checkpoints.layouts.registry import PRETRAINING
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import register_backbone
from keras_pointpeft.checkpoints.layouts.segmentation import TOKENS

register_backbone(
    "PointPQAEBackbone",
    POINT_MAE,
    (
        Source(
            "Point-PQAE, pre-trained",
            ("PointPQAEBackbone",),
            (r"^MAE_encoder\.",),
            "MAE_encoder.",
            # What the pre-training has besides is not known.
            {r"^(?!MAE_encoder\.)": PRETRAINING},
            {r"^class_tokens/": NO_CLASS_TOKEN},
            without=(r"_contrast\.", r"\.mask_pos_token$"),
            test=plain,
        ),
    ),
    prefix="MAE_encoder.",
    segmentation=TOKENS,
)
