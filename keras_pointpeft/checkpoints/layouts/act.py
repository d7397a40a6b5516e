"""Names of ACT, and of its ways of transfer."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.layouts.point_bert import PROJECTION
from keras_pointpeft.checkpoints.names import NameMap

ACT = point_mae.POINT_MAE | NameMap(PROJECTION, {})

# A head of one linear layer, the first of a sequence.
LINEAR_HEAD = NameMap({r"head/logits": "cls_head_finetune.0"}, {})

SIDE_TUNING = NameMap(
    {
        **{
            ours.replace("patch_encoder", "tuner_side/encoder"): (
                theirs.replace("encoder", "side", 1)
            )
            for ours, theirs in point_mae.PATCH_ENCODER.items()
        },
        r"tuner_side/projection": "side_projection",
    },
    {r"tuner_side/alpha": "side_alpha"},
)
