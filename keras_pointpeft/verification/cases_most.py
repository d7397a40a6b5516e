"""Recorded cases of MoST, on PointGPT."""

from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.layers.point_generator import generation_loss
from keras_pointpeft.peft import MoST
from keras_pointpeft.verification.case import LOGITS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.cases_trunks import point_gpt
from keras_pointpeft.verification.family import check_classifier
from keras_pointpeft.verification.family import encoded_tokens
from keras_pointpeft.verification.gradients import forward

# What the published rule for blocks to fuse counts with, whatever the depth.
PUBLISHED_DEPTH = 24
# How many patches are recorded, of the tokens and of those generated.
SHOWN = 32


def _model(recorded, reference):
    config = recorded.config
    step = PUBLISHED_DEPTH // config["fusion_layer"]
    peft = MoST(
        config["monarch_nblocks"],
        fusions=config["depth"] // step,
        reference=reference,
        neutral_start=False,
        frozen_bn="track",
    )
    return point_gpt(recorded, peft, config["decoder_depth"])


@case("most_*")
def monarch_branches(recorded):
    model = _model(recorded, reference=True)
    backbone, data = model.backbone, recorded.data
    check_classifier(
        recorded,
        model,
        patch_tokens=encoded_tokens(backbone)[:, :SHOWN],
        cls_norm_out=backbone.get_layer("class_norm").output,
    )
    points = data["points"]
    outputs = forward(backbone, points)
    patches = backbone.get_layer("order")(backbone.get_layer("patches")(points))
    recorded.equal_arrays("order0", patches["order"])
    generated = outputs["generated_points"]
    some = ops.reshape(generated, (-1, *generated.shape[2:]))[:SHOWN]
    recorded.close("generated_points", some, TOKENS)
    target = patches["neighborhoods"] + patches["centers"][:, :, None]
    loss = generation_loss(generated, target)
    recorded.close("chamfer", loss, TOKENS)
    # A cloud is its own batch, unless all is to be as released.
    if "logits_each_alone_f64" in data:
        alone = _model(recorded, reference=False)
        fill_layout(alone, recorded.weights(), layout_of(alone))
        recorded.close("logits_each_alone_f64", forward(alone, points), LOGITS)
