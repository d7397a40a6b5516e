"""Names of Point-BERT."""

from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap

PROJECTION = {r"projection": "reduce_dim"}

# Its head has two layers and no BatchNorm.
HEAD = {
    r"head/fc1": "cls_head_finetune.0",
    r"head/logits": "cls_head_finetune.3",
}

POINT_BERT = point_mae.POINT_MAE | NameMap({**PROJECTION, **HEAD}, {})
