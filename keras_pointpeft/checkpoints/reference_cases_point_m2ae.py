"""Recorded cases of Point-M2AE."""

import numpy as np
from keras import ops

from keras_pointpeft.checkpoints import point_m2ae
from keras_pointpeft.checkpoints.reference import LOGITS
from keras_pointpeft.checkpoints.reference import LOSS
from keras_pointpeft.checkpoints.reference import TOKENS
from keras_pointpeft.checkpoints.reference import case
from keras_pointpeft.checkpoints.transfer import fill
from keras_pointpeft.models import HierarchicalMaskedAutoencoder
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.training.losses import SmoothedCrossentropy

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


def check_patches(recorded, stages):
    """Centres and neighbours of all stages, as indices."""
    data, points = recorded.data, recorded.data["points"]
    for i, patches in enumerate(stages):
        index = data[f"fps_idx_{i}"][..., None].astype(int)
        centers = np.take_along_axis(points, index, axis=1)
        recorded.close(f"fps_idx_{i}", patches["centers"], 0.0, centers)
        recorded.same_sets(f"knn_idx_{i}", patches["neighbors"])
        points = centers


def check_tokens(recorded, backbone):
    """Tokens before and after the blocks, whole or the recorded part."""
    parts = {}
    for i in range(len(backbone.depths)):
        name = f"stage{i}_tokens_in"
        encoded = backbone.get_layer(f"patch_encoder_{i}").output
        parts[name] = encoded[:, : recorded.data[name].shape[1]]
        for j, number in enumerate(backbone.blocks_of(i)):
            tokens = backbone.get_layer(f"block_{number}").output
            parts[f"stage{i}_block{j}"] = tokens
            parts[f"stage{i}_block{j}_first2"] = tokens[:, :2]
    recorded.check_parts(backbone, parts)


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
    names = point_m2ae.classifier_names(backbone)
    fill(model, recorded.weights(), names)
    recorded.check_counts(model, names)
    points = data["points"]
    stages, centers = [], points
    for i in range(len(backbone.depths)):
        stages.append(backbone.get_layer(f"patches_{i}")(centers))
        centers = stages[-1]["centers"]
    check_patches(recorded, stages)
    check_tokens(recorded, backbone)
    pooled = model.token_pooling(backbone(points))
    recorded.close("pooled", pooled, TOKENS)
    logits = model(points)
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
    names = point_m2ae.pretraining_names(model.backbone)
    fill(model, recorded.weights(), names)
    return model, names


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

    parts = model(points, mask)
    hidden = ops.convert_to_numpy(parts["hidden"])
    for name, ours in (("rec", "reconstruction"), ("gt", "target")):
        patches = ops.convert_to_numpy(parts[ours])[hidden]
        expected = data[f"{name}_points"]
        patches = patches[: len(expected)]
        if name == "gt":
            # The order of the points within a patch is free.
            patches, expected = _sorted(patches), _sorted(expected)
        recorded.close(f"{name}_points", patches, TOKENS, expected)
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


def _sorted(patches):
    """Patches `(patches, points, 3)`, points in the order of coordinates."""
    order = np.argsort(patches[..., 0], axis=1, kind="stable")
    return np.take_along_axis(patches, order[..., None], axis=1)
