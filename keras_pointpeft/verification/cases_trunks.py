"""Recorded cases of the backbones beside Point-MAE."""

import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.layers import TokenPooling
from keras_pointpeft.layers.point_generator import generation_loss
from keras_pointpeft.models import ACTBackbone
from keras_pointpeft.models import PCPMAEBackbone
from keras_pointpeft.models import PointBERTBackbone
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointGPTBackbone
from keras_pointpeft.models import ReConBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import BitFit
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import SideTuning
from keras_pointpeft.verification.case import LOSS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import backbone_arguments
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.family import block_outputs
from keras_pointpeft.verification.family import check_classifier
from keras_pointpeft.verification.family import check_parts
from keras_pointpeft.verification.gradients import forward


@case("pointbert_finetune_*")
def pointbert_finetune(recorded):
    config = recorded.config
    backbone = PointBERTBackbone(
        token_dim=config["encoder_dims"], **backbone_arguments(config)
    )
    model = PointCloudClassifier(backbone, config["cls_dim"], dropout=0.0)
    check_classifier(recorded, model)
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
    return LinearProbe("track", train_class_token=True)


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
    check_classifier(recorded, model)


def _transferred(recorded, kind):
    """A classifier on a backbone of a kind: all of it trains, or a probe."""
    config = recorded.config
    linear = config["type"] == "linear"
    backbone = kind(
        peft=_probe() if linear else None, **backbone_arguments(config)
    )
    head = () if linear else None
    return PointCloudClassifier(
        backbone, config["cls_dim"], head_dims=head, dropout=0.0
    )


@case("pcpmae_finetune_*")
@case("pcpmae_linear_*")
def pcpmae_transfer(recorded):
    model = _transferred(recorded, PCPMAEBackbone)
    position = model.backbone.get_layer("position")
    check_classifier(
        recorded,
        model,
        pos_code=position.code(model.backbone.output["centers"]),
        pos_embed=position.output,
    )


@case("recon_finetune_*")
@case("recon_linear_*")
def recon_transfer(recorded):
    check_classifier(recorded, _transferred(recorded, ReConBackbone))


@case("recon_svm_feature_*")
def recon_feature(recorded):
    backbone = ReConBackbone(**backbone_arguments(recorded.config))
    fill_layout(backbone, recorded.weights(), layout_of(backbone))
    parts = block_outputs(backbone)
    parts["patch_tokens"] = backbone.get_layer("patch_encoder").output
    check_parts(recorded, backbone, parts)
    pool = TokenPooling("max", None, "mean+max")
    feature = pool(forward(backbone, recorded.data["points"]))
    # Recorded under the name of what models usually end with.
    recorded.close("logits", feature, TOKENS)


# How DAPT was published for PointGPT.
DAPT_ON_POINT_GPT = {
    "prompt_token": "with_patches",
    "position": "last",
    "sites": ("norm1", "norm2", "fc1", "fc2"),
    "mlp_reads": "tokens",
}


def point_gpt(recorded, peft=None, generator_depth=0):
    config = recorded.config
    deep = any(
        name == "encoder.first_conv.6.weight"
        for name, _, _ in recorded.manifest["state_dict"]
    )
    backbone = PointGPTBackbone(
        encoder_dims=(256, 512, 1024, 2048) if deep else (128, 256, 512),
        generator_depth=generator_depth,
        peft=peft,
        **backbone_arguments(config),
    )
    return PointCloudClassifier(backbone, config["cls_dim"], dropout=0.0)


@case("pointgpt_finetune_*")
@case("pointgpt_?_finetune_*")
def pointgpt_finetune(recorded):
    depth = recorded.config["decoder_depth"]
    model = point_gpt(recorded, generator_depth=depth)
    backbone, data = model.backbone, recorded.data
    generated = backbone.output["generated_points"]
    size = recorded.config["group_size"]
    check_classifier(
        recorded,
        model,
        cls_norm_out=backbone.get_layer("class_norm").output,
        generated_points=ops.reshape(generated, (-1, size, 3)),
    )
    points = data["points"]
    patches = backbone.get_layer("order")(backbone.get_layer("patches")(points))
    recorded.equal_arrays("order0", patches["order"])
    target = patches["neighborhoods"] + patches["centers"][:, :, None]
    generated = forward(backbone, points)["generated_points"]
    loss = generation_loss(generated, target)
    recorded.close("chamfer", loss, TOKENS)


@case("dapt_pointgpt_*")
def dapt_pointgpt(recorded):
    peft = DAPT(frozen_bn="track", **DAPT_ON_POINT_GPT)
    model = point_gpt(recorded, peft)
    check_classifier(recorded, model)
