"""Recorded cases of pre-training."""

import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.models import CenterPredictingAutoencoder
from keras_pointpeft.models import PCPMAEBackbone
from keras_pointpeft.models.point_gpt import PointGPTBackbone
from keras_pointpeft.models.point_mae import PointMAEBackbone
from keras_pointpeft.models.pretraining.generative_pretrainer import (
    GenerativePretrainer,
)
from keras_pointpeft.models.pretraining.masked_autoencoder import (
    MaskedAutoencoder,
)
from keras_pointpeft.verification.case import LOSS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import backbone_arguments
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.family import check_counts
from keras_pointpeft.verification.family import check_gradients
from keras_pointpeft.verification.gradients import forward


def masked_autoencoder(config, kind=MaskedAutoencoder, trunk=PointMAEBackbone):
    """Our model of a published pre-training configuration."""
    transformer = config["transformer_config"]
    backbone = trunk(
        drop_path_rate=transformer["drop_path_rate"],
        **backbone_arguments(config),
    )
    return kind(
        backbone,
        decoder_depth=transformer["decoder_depth"],
        decoder_num_heads=transformer["decoder_num_heads"],
        mask_ratio=transformer["mask_ratio"],
        mask_type={"rand": "random"}.get(
            transformer["mask_type"], transformer["mask_type"]
        ),
        decoder_drop_path_rate=transformer["drop_path_rate"],
    )


@case("pointmae_pretrain_*")
def pointmae_pretraining(recorded):
    model = masked_autoencoder(recorded.config)
    layout = layout_of(model)
    names = layout.names
    fill_layout(model, recorded.weights(), layout)
    recorded.check_counts(model, names)
    data = recorded.data
    points, mask = data["points"], data["mask"]
    hidden = int(mask[0].sum())
    recorded.equal("masked patches", model.num_masked, hidden)

    patches = model.patches(points)
    recorded.close("centers", patches["centers"], 0.0)
    recorded.same_sets("knn_idx", patches["neighbors"])
    tokens = model.patch_encoder(patches["neighborhoods"])
    expected = data["patch_tokens"]
    recorded.close("patch_tokens", tokens[: len(expected)], TOKENS)

    parts = forward(model, points, mask)
    size = model.backbone.group_size
    recorded.close("x_vis", parts["visible_tokens"], TOKENS)
    rebuilt = ops.reshape(parts["reconstruction"], (-1, size, 3))
    recorded.close("rebuild_points", rebuilt, TOKENS)
    # The order of the points within a patch is free.
    target = ops.reshape(parts["target"], (-1, size, 3))
    recorded.close_sets("gt_points", target, 1e-6)
    for norm in ("l2", "l1"):
        model.chamfer = f"chamfer_{norm}"
        loss = model.compute_loss(y_pred=parts)
        recorded.close(f"loss_cd{norm}", loss, LOSS)
    model.chamfer = "chamfer_l2"
    if "vis_full" in data:
        _check_reconstruction(recorded, model)
    if "grad_norms" in data:
        data["loss"] = data["loss_cdl2"]
        recorded.check_gradients(
            model,
            names,
            lambda call: model.compute_loss(y_pred=call(points, mask)),
        )


def _check_reconstruction(recorded, model):
    """The published picture: all of the batch's points as one cloud."""
    data = recorded.data
    clouds = model.reconstruct(data["points"], data["mask"])
    size = model.backbone.group_size
    hidden = model.num_masked * size

    def flat(values):
        return np.reshape(ops.convert_to_numpy(values), (-1, 3))

    rebuilt, seen = clouds["points"][:, :hidden], clouds["visible"]
    centers = clouds["centers"]
    first = flat(centers[:, : model.num_masked])
    last = flat(centers[:, model.num_masked :])
    recorded.close("vis_center", np.concatenate((first, last)), 1e-6)
    both = np.concatenate((flat(seen), flat(rebuilt)))
    for name, ours in (("vis_full", both), ("vis_visible", flat(seen))):
        theirs = data[name].reshape(-1, size, 3)
        recorded.close_sets(name, ours.reshape(-1, size, 3), TOKENS, theirs)


@case("pointgpt_pretrain_*")
def pointgpt_pretraining(recorded):
    config, data = recorded.config, recorded.data
    transformer = config["transformer_config"]
    backbone = PointGPTBackbone(
        generator_depth=transformer["decoder_depth"],
        **backbone_arguments(config),
    )
    model = GenerativePretrainer(backbone, transformer["mask_ratio"])
    layout = layout_of(model)
    names = layout.names
    report = fill_layout(model, recorded.weights(), layout)
    check_counts(recorded, model, names, report)
    points, hidden = data["points"], data["in_column_mask"] > 0
    recorded.equal("hidden tokens", model.num_masked, int(hidden.sum()))
    patches = model.patches(points)
    recorded.same_sets("knn0", patches["neighbors"])
    patches = model.order(patches)
    recorded.equal_arrays("order0", patches["order"])
    parts = forward(model, points, hidden)
    generated = ops.reshape(parts["generated"], (-1, backbone.group_size, 3))
    recorded.close("logits", generated, TOKENS)
    loss = model.compute_loss(y_pred=parts)
    recorded.close("pretrain_loss", loss, LOSS)
    check_gradients(
        recorded,
        model,
        names,
        loss_fn=lambda call: model.compute_loss(y_pred=call(points, hidden)),
    )


@case("pcpmae_pretrain_*")
def pcpmae_pretraining(recorded):
    config, data = recorded.config, recorded.data
    # Recorded without stochastic depth, in training too.
    transformer = config["transformer_config"] | {"drop_path_rate": 0.0}
    model = masked_autoencoder(
        config | {"transformer_config": transformer},
        CenterPredictingAutoencoder,
        PCPMAEBackbone,
    )
    recorded.equal("weight of centres", model.center_weight, config["ita"])
    layout, state = layout_of(model), recorded.weights()
    report = fill_layout(model, state, layout)
    check_counts(recorded, model, layout.names, report)
    points, hidden = data["points"], data["in_mask"] > 0
    recorded.equal("masked patches", model.num_masked, int(hidden[0].sum()))
    recorded.same_sets("knn0", model.patches(points)["neighbors"])

    parts = forward(model, points, hidden)
    recorded.close("encoded_visible", parts["visible_tokens"], TOKENS)
    recorded.close("encoded_masked", parts["masked_tokens"], TOKENS)
    recorded.close("predicted_pos_code", parts["predicted_codes"], TOKENS)
    size = model.backbone.group_size
    rebuilt = ops.reshape(parts["reconstruction"], (-1, size, 3))
    recorded.close("rebuilt_points", rebuilt, TOKENS)
    losses = (
        model.distance(parts["reconstruction"], parts["target"]),
        model.center_weight * model.center_loss(parts),
    )
    recorded.close("losses", ops.stack(losses), LOSS)

    def loss(call):
        return model.compute_loss(y_pred=call(points, hidden))

    names = layout.names
    check_gradients(recorded, model, names, loss_fn=loss)
    # With the statistics of the batch.
    check_gradients(recorded, model, names, training=True, loss_fn=loss)
