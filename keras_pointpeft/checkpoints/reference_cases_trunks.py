"""Recorded cases of the backbones beside Point-MAE."""

import numpy as np
from keras import ops

from keras_pointpeft.checkpoints import act
from keras_pointpeft.checkpoints import point_bert
from keras_pointpeft.checkpoints import recon
from keras_pointpeft.checkpoints.reference import LOSS
from keras_pointpeft.checkpoints.reference import TOKENS
from keras_pointpeft.checkpoints.reference import case
from keras_pointpeft.checkpoints.reference_family import block_outputs
from keras_pointpeft.checkpoints.reference_family import check_classifier
from keras_pointpeft.checkpoints.reference_family import check_parts
from keras_pointpeft.checkpoints.transfer import fill
from keras_pointpeft.layers import TokenPooling
from keras_pointpeft.models import ACTBackbone
from keras_pointpeft.models import PointBERTBackbone
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import ReConBackbone
from keras_pointpeft.peft import BitFit
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import SideTuning


def backbone_arguments(config):
    """Constructor arguments that all published configurations name."""
    return {
        "num_groups": config["num_group"],
        "group_size": config["group_size"],
        "dim": config.get("trans_dim", config.get("embed_dim")),
        "depth": config["depth"],
        "num_heads": config["num_heads"],
        "skip_origin": True,
    }


@case("pointbert_finetune_*")
def pointbert_finetune(recorded):
    config = recorded.config
    backbone = PointBERTBackbone(
        token_dim=config["encoder_dims"], **backbone_arguments(config)
    )
    model = PointCloudClassifier(backbone, config["cls_dim"], dropout=0.0)
    check_classifier(recorded, model, point_bert.POINT_BERT)
    if "loss_label_smoothing_f64" in recorded.data:
        logits = ops.convert_to_numpy(model(recorded.data["points"]))
        smoothed = _smoothed_loss(logits, recorded.data["labels"], 0.2)
        recorded.close("loss_label_smoothing_f64", smoothed, LOSS)


def _smoothed_loss(logits, labels, smoothing):
    """Cross-entropy with `smoothing` spread over the other classes."""
    count = logits.shape[-1]
    hot = np.eye(count)[labels]
    target = hot * (1.0 - smoothing) + (1.0 - hot) * smoothing / (count - 1)
    top = logits.max(axis=-1, keepdims=True)
    log_sum = top + np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))
    return -(target * (logits - log_sum)).sum(axis=-1).mean()


def _probe():
    return LinearProbe("track", class_token=True)


# Ways of transfer: how the backbone trains and, if published, the head.
ACT_TRANSFERS = {
    "full": (lambda: None, None),
    "mlp-3": (_probe, None),
    "linear": (_probe, ()),
    "side": (lambda: SideTuning(frozen_bn="track"), None),
    "bit-fit": (lambda: BitFit("track"), None),
}


@case("act_finetune_*")
@case("act_linear_*")
@case("act_mlp3_*")
@case("act_side_*")
@case("act_bitfit_*")
def act_transfer(recorded):
    config = recorded.config
    peft, head_dims = ACT_TRANSFERS[config["transfer_type"]]
    backbone = ACTBackbone(
        token_dim=config["encoder_dims"],
        peft=peft(),
        **backbone_arguments(config),
    )
    model = PointCloudClassifier(
        backbone, config["cls_dim"], head_dims=head_dims, dropout=0.0
    )
    names = act.ACT | act.SIDE_TUNING
    if head_dims == ():
        names = names | act.LINEAR_HEAD
    check_classifier(recorded, model, names)


@case("recon_finetune_*")
@case("recon_linear_*")
def recon_transfer(recorded):
    config = recorded.config
    linear = config["type"] == "linear"
    backbone = ReConBackbone(
        peft=_probe() if linear else None, **backbone_arguments(config)
    )
    model = PointCloudClassifier(
        backbone,
        config["cls_dim"],
        head_dims=() if linear else None,
        dropout=0.0,
    )
    names = recon.RECON | act.LINEAR_HEAD if linear else recon.RECON
    check_classifier(recorded, model, names)


@case("recon_svm_feature_*")
def recon_feature(recorded):
    backbone = ReConBackbone(**backbone_arguments(recorded.config))
    fill(backbone, recorded.weights(), recon.RECON)
    parts = block_outputs(backbone)
    parts["patch_tokens"] = backbone.get_layer("patch_encoder").output
    check_parts(recorded, backbone, parts)
    pool = TokenPooling("max", None, "mean+max")
    feature = pool(backbone(recorded.data["points"]))
    # Recorded under the name of what models usually end with.
    recorded.close("logits", feature, TOKENS)
