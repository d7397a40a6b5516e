"""Recorded cases of part and scene segmentation."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.models import ACTBackbone
from keras_pointpeft.models import PartSegmenter
from keras_pointpeft.models import PointBERTBackbone
from keras_pointpeft.models import PointGPTBackbone
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.models import ReConBackbone
from keras_pointpeft.models import SemanticSegmenter
from keras_pointpeft.peft import IDPT
from keras_pointpeft.peft import PPT
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.verification.case import LOGITS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import backbone_arguments
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.cases_point_m2ae import check_patches
from keras_pointpeft.verification.cases_point_m2ae import patches_of
from keras_pointpeft.verification.family import block_outputs
from keras_pointpeft.verification.family import check_counts
from keras_pointpeft.verification.family import check_parts
from keras_pointpeft.verification.family import encoded_tokens
from keras_pointpeft.verification.gradients import forward


@case("pointmae_partseg_*")
def pointmae_partseg(recorded):
    ((groups, size),) = recorded.config["hierarchy"]
    backbone = PointMAEBackbone(
        groups, size, skip_origin=True, use_class_token=False
    )
    model = PartSegmenter(backbone, recorded.config["cls_dim"], dropout=0.0)
    parts = {
        f"block_{i}": backbone.get_layer(f"block_{i}").output
        for i in model.blocks
    }
    parts["patch_tokens"] = backbone.get_layer("patch_encoder").output
    parts["propagation_0_first16"] = model.get_layer("propagation").output
    _check_own(recorded, model, parts)
    points = recorded.data["points"]
    check_patches(recorded, [backbone.get_layer("patches")(points)])


@case("pointm2ae_partseg_*")
def pointm2ae_partseg(recorded):
    groups, sizes = zip(*recorded.config["hierarchy"])
    backbone = PointM2AEBackbone(groups, sizes, skip_origin=True)
    model = PartSegmenter(backbone, recorded.config["cls_dim"], dropout=0.0)
    parts = {}
    for i, tokens in enumerate(model.dense.output["tokens"]):
        parts[f"encoder_norm_{i}"] = tokens
        carried = model.get_layer(f"propagation_{i}").output
        parts[f"propagation_{i}_first16"] = carried
    _check_own(recorded, model, parts)
    check_patches(recorded, patches_of(backbone, recorded.data["points"]))


def _check_own(recorded, model, parts):
    """What the cases of the Point-MAE authors' layout compare."""
    data = recorded.data
    layout = layout_of(model)
    names = layout.names
    fill_layout(model, recorded.weights(), layout)
    recorded.check_counts(model, names)
    inputs = {"points": data["points"], "category": data["category"]}
    values = _values(model, parts, inputs)
    for name, value in values.items():
        theirs = data[name]
        value = ops.convert_to_numpy(value)
        if name.startswith("propagation"):
            # Channels first, and the first 16 points.
            value = value[:, :16].swapaxes(1, 2)
        recorded.close(name, value[:, : theirs.shape[1]], TOKENS)
    scores = forward(model, inputs)
    recorded.close("log_probs", scores, LOGITS)
    if "loss" in data:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        recorded.check_gradients(
            model, names, lambda call: loss(data["target"], call(inputs))
        )


def _values(model, parts, inputs):
    """Intermediate tensors of the backbone and of the model itself."""
    ours = {k: v for k, v in parts.items() if "propagation" in k}
    theirs = {k: v for k, v in parts.items() if k not in ours}
    dense = keras.Model(model.dense.input, theirs)
    found = forward(dense, inputs["points"])
    return {**found, **forward(keras.Model(model.input, ours), inputs)}


def _token_model(recorded, backbone_class, task_class=PartSegmenter, **kwargs):
    config = recorded.config
    if issubclass(backbone_class, PointBERTBackbone):
        kwargs["token_dim"] = config["encoder_dims"]
    backbone = backbone_class(**backbone_arguments(config), **kwargs)
    return task_class(backbone, config["cls_dim"], dropout=0.0)


@case("pointbert_partseg_*")
def pointbert_partseg(recorded):
    model = _token_model(recorded, PointBERTBackbone)
    _check_family(recorded, model)


@case("recon_partseg_*")
def recon_partseg(recorded):
    model = _token_model(recorded, ReConBackbone)
    _check_family(recorded, model)


@case("pointgpt_?_partseg_*")
def pointgpt_partseg(recorded):
    model = _token_model(recorded, PointGPTBackbone)
    _check_family(recorded, model)


@case("act_*seg_*")
def act_segmentation(recorded):
    """The part that the authors call `only_new` trains."""
    scenes = "semseg" in recorded.name
    model = _token_model(
        recorded,
        ACTBackbone,
        SemanticSegmenter if scenes else PartSegmenter,
        token_dim=recorded.config["encoder_dims"],
        use_class_token=False,
        peft=LinearProbe("track"),
    )
    _check_family(recorded, model)


@case("idpt_partseg_*")
def idpt_partseg(recorded):
    peft = IDPT(
        tuple(recorded.config["prompt_layers"]),
        recorded.config["prompt_module"],
        frozen_bn="track",
    )
    model = _token_model(
        recorded, PointMAEBackbone, use_class_token=False, peft=peft
    )
    _check_family(recorded, model)


@case("ppt_partseg_*")
def ppt_partseg(recorded):
    peft = PPT(
        rank=recorded.config["prompt_hidden"],
        frozen_bn="track",
        reference=True,
    )
    model = _token_model(
        recorded, PointMAEBackbone, use_class_token=False, peft=peft
    )
    # The published rule forgets it.
    model.get_layer("category_feature").trainable = False
    _check_family(recorded, model)


def _check_family(recorded, model):
    """What the cases of the other authors' layout compare."""
    data, backbone = recorded.data, model.backbone
    points = inputs = data["points"]
    if model.num_categories is not None:
        category = data["in_cls_label_onehot"].argmax(axis=-1)
        inputs = {"points": points, "category": category.astype("int32")}
    layout = layout_of(model)
    report = fill_layout(model, recorded.weights(), layout)
    check_counts(recorded, model, layout.names, report)
    parts = block_outputs(backbone)
    parts["patch_tokens"] = encoded_tokens(backbone)
    check_parts(recorded, backbone, parts)
    scores = ops.convert_to_numpy(forward(model, inputs))
    recorded.close("logits_stride4", scores[:, ::4], LOGITS)
    recorded.close("logits_f64_stride16", scores[:, ::16], LOGITS)
    wrong = np.mean(scores.argmax(axis=-1) != data["pred_all"])
    # Two classes may be as good as equal at a point.
    recorded.close("pred_all", wrong, 1e-3, np.zeros(()))
