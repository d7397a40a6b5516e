"""Recorded cases of Point-M2AE."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.loading import load_into
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.models import HierarchicalMaskedAutoencoder
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.step.losses import SmoothedCrossentropy
from keras_pointpeft.verification.case import LOGITS
from keras_pointpeft.verification.case import LOSS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.case import mean_cross_entropy
from keras_pointpeft.verification.cases_point_peft import logits_of
from keras_pointpeft.verification.cases_point_peft import outputs_of
from keras_pointpeft.verification.cases_point_peft import with_given_feature
from keras_pointpeft.verification.gradients import forward

# What the published classifiers read, and their numbers of classes.
HEADS = {
    "Point_M2AE_ScanObjectNN": ("mean,max_but_first", 15),
    "Point_M2AE_ModelNet40": ("mean+max", 40),
}


def point_m2ae_backbone(config, peft=None):
    return PointM2AEBackbone(
        num_groups=config["num_groups"],
        group_sizes=config["group_sizes"],
        dims=config["encoder_dims"],
        depths=config["encoder_depths"],
        num_heads=config["num_heads"],
        radii=config["local_radius"],
        drop_path_rate=config["drop_path_rate"],
        skip_origin=True,
        peft=peft,
    )


def patches_of(backbone, points):
    """The patches of all stages, a list of dicts."""
    stages = []
    for i in range(len(backbone.depths)):
        stages.append(backbone.get_layer(f"patches_{i}")(points))
        points = stages[-1]["centers"]
    return stages


def check_patches(recorded, stages):
    """Centres and neighbours of all stages, as indices."""
    data, points = recorded.data, recorded.data["points"]
    for i, patches in enumerate(stages):
        index = data[f"fps_idx_{i}"][..., None].astype(int)
        centers = np.take_along_axis(points, index, axis=1)
        recorded.close(f"fps_idx_{i}", patches["centers"], 0.0, centers)
        recorded.same_sets(f"knn_idx_{i}", patches["neighbors"])
        points = centers


def check_tokens(recorded, backbone, feature=None):
    """Tokens before and after the blocks, whole or the recorded part.

    Args:
        recorded: the `Case`.
        backbone: our backbone.
        feature: optional array, put in for what the frozen pass makes.
    """
    parts = {}
    for i in range(len(backbone.depths)):
        name = f"stage{i}_tokens_in"
        encoded = backbone.get_layer(f"patch_encoder_{i}").output
        parts[name] = encoded[:, : recorded.data[name].shape[1]]
        for j, number in enumerate(backbone.blocks_of(i)):
            tokens = backbone.get_layer(f"block_{number}").output
            parts[f"stage{i}_block{j}"] = tokens
            parts[f"stage{i}_block{j}_first2"] = tokens[:, :2]
    parts = {k: v for k, v in parts.items() if k in recorded.data}
    inputs, arrays = [backbone.input], [recorded.data["points"]]
    if feature is not None:
        inputs.append(backbone.get_layer("frozen_pass").output)
        arrays.append(feature)
    for name, value in forward(keras.Model(inputs, parts), arrays).items():
        recorded.close_stream(name, value)


@case("pointm2ae_finetune_*")
def pointm2ae_finetune(recorded):
    config, data = recorded.config, recorded.data
    patch_token, num_classes = HEADS[config["NAME"]]
    backbone = point_m2ae_backbone(config)
    model = PointCloudClassifier(
        backbone,
        num_classes,
        pooling={"class_token": None, "patch_token": patch_token},
    )
    layout = layout_of(model)
    names = layout.names
    fill_layout(model, recorded.weights(), layout)
    recorded.check_counts(model, names)
    points = data["points"]
    check_patches(recorded, patches_of(backbone, points))
    check_tokens(recorded, backbone)
    pooled = model.token_pooling(forward(backbone, points))
    recorded.close("pooled", pooled, TOKENS)
    logits = forward(model, points)
    recorded.close("logits", logits, LOGITS)
    loss = SmoothedCrossentropy(config.get("smooth", 0.0))
    recorded.close("loss", loss(data["labels"], logits), LOSS)
    if "grad_norms" in data:
        recorded.check_gradients(
            model, names, lambda call: loss(data["labels"], call(points))
        )


def _autoencoder(recorded):
    """Our model of a published pre-training configuration, filled."""
    config = recorded.config
    model = HierarchicalMaskedAutoencoder(
        point_m2ae_backbone(config),
        decoder_depth=config["decoder_depths"][0],
        decoder_num_heads=config["num_heads"],
        propagation_depth=config["decoder_up_blocks"][0],
        mask_ratio=config["mask_ratio"],
        decoder_drop_path_rate=config["drop_path_rate"],
        reference=True,
    )
    layout = layout_of(model)
    fill_layout(model, recorded.weights(), layout)
    return model, layout.names


@case("pointm2ae_pretrain_*")
def pointm2ae_pretraining(recorded):
    model, names = _autoencoder(recorded)
    recorded.check_counts(model, names)
    data = recorded.data
    points, mask = data["points"], data["mask"]
    recorded.equal("masked patches", model.num_masked, int(mask[0].sum()))
    stages = model._cut(points)
    check_patches(recorded, stages)
    encoded = model._encode(stages, np.logical_not(mask), model.num_visible)
    for i, stage in enumerate(encoded):
        hidden = np.logical_not(ops.convert_to_numpy(stage["visible"]))
        recorded.equal(
            f"masked_{i}", hidden.tolist(), data[f"masked_{i}"].tolist()
        )
        # What the code records are the rows up to the longest sample's.
        expected = data[f"x_vis_{i}"]
        tokens = stage["tokens"][:, : expected.shape[1]]
        recorded.close(f"x_vis_{i}", tokens, TOKENS)

    parts = forward(model, points, mask)
    hidden = ops.convert_to_numpy(parts["hidden"])
    for name, ours in (("rec", "reconstruction"), ("gt", "target")):
        patches = ops.convert_to_numpy(parts[ours])[hidden]
        expected = data[f"{name}_points"]
        patches = patches[: len(expected)]
        # The order of the points within a patch of the cloud is free.
        close = recorded.close_sets if name == "gt" else recorded.close
        close(f"{name}_points", patches, TOKENS, expected)
    loss = model.compute_loss(y_pred=parts)
    recorded.close("loss", loss, LOSS)
    feature = model.stage_features(points)[-1]
    recorded.close("eval_feature", feature, TOKENS)
    if "grad_norms" in data:
        recorded.check_gradients(
            model,
            names,
            lambda call: model.compute_loss(y_pred=call(points, mask)),
        )


@case("pointpeft_m2ae_cpfeature_*")
def stage_features(recorded):
    model, _ = _autoencoder(recorded)
    points = recorded.data["points"]
    check_patches(recorded, model._cut(points))
    for i, feature in enumerate(model.stage_features(points)):
        recorded.close(f"feature_{i}", feature, TOKENS)


@case("pointpeft_pointm2ae_*")
def pointpeft_pointm2ae(recorded):
    data, bank = recorded.data, recorded.data["bank"]
    model = _point_peft(recorded)
    trained = layout_of(model).parameter
    weights = recorded.weights()
    load_into(model, weights, bank=bank)
    recorded.check_counts(model, trained)
    _check_second_choice(recorded, model.backbone)
    check_tokens(recorded, model.backbone, data["cp_feat"])
    inputs = (data["points"], data["cp_feat"])
    values = forward(with_given_feature(model), inputs)
    for name in ("cache_prompt", "pooled"):
        recorded.close(name, values[name], TOKENS)
    recorded.close("logits", values["logits"], LOGITS)
    run = logits_of(model)
    alone = [
        ops.convert_to_numpy(run([part[i : i + 1] for part in inputs]))
        for i in range(len(data["points"]))
    ]
    name = "logits_each_sample_alone"
    recorded.close(name, np.concatenate(alone), LOGITS)
    if "grad_norms" in data:
        entropy = mean_cross_entropy(data["labels"])
        recorded.check_gradients(
            run, trained, lambda call: entropy(call(list(inputs)))
        )
    for name, changed in (
        ("logits_maxmean", {"neighborhood_pooling": "max+mean"}),
        ("logits_propagate_0_1", {"propagation_scale": 0.1}),
    ):
        other = _point_peft(recorded, **changed)
        load_into(other, weights, bank=bank)
        recorded.close(name, logits_of(other)(list(inputs)), LOGITS)


def _point_peft(recorded, **changed):
    """Our classifier of a published configuration of Point-PEFT."""
    config = recorded.config
    transformer = config["transformer_config"]
    adapter = config["adapter_config"]
    arguments = recorded.manifest["forward"]["args"]
    method = {
        "num_prompts": recorded.manifest["forward"]["K"] + 2,
        "prompt_blocks": sum(transformer["depths"]),
        "bank_size": recorded.data["bank"].shape[1],
        "prior_num_groups": None,
        "prior_group_size": None,
        "adapter_rank": adapter["adapter_dim"][0],
        "adapter_dropout": adapter["adapter_drop_path_rate"],
        "center_scale": arguments["center_cof"],
        "propagation_scale": arguments["propagate_cof"],
        "gated": True,
        "reference": True,
        "frozen_bn": "track",
    }
    sizes = {
        "num_groups": config["num_groups"],
        "group_sizes": config["group_sizes"],
        "encoder_depths": transformer["depths"],
        "local_radius": transformer["masking_radius"],
    }
    backbone = point_m2ae_backbone(
        transformer | sizes, PointPEFT(**(method | changed))
    )
    pooling = {"class_token": None, "patch_token": "mean,max"}
    return PointCloudClassifier(backbone, config["cls_dim"], pooling=pooling)


def _check_second_choice(recorded, backbone):
    """The patches, and those that the prompts' coordinates have moved."""
    data, points = recorded.data, recorded.data["points"]
    layers = [backbone.get_layer(f"patches_{i}") for i in range(3)]
    layers += [backbone.get_layer(f"tuner_geometry_{i}") for i in range(3)]
    outputs = [outputs_of(layer) for layer in layers]
    values = keras.Model(backbone.input, outputs)(points)
    check_patches(recorded, values[:3])
    # The last choice of a stage is the centres of the next.
    for i, value in enumerate(values[3:]):
        number = i + 4
        recorded.same_sets(f"knn_idx_{number}", value["prompted_neighbors"])
        name = f"fps_idx_{number}"
        chosen = ops.convert_to_numpy(value["prompted_chosen"])
        recorded.equal(name, chosen.tolist(), data[name].tolist())
