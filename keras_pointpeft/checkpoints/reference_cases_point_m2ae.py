"""Recorded cases of Point-M2AE."""

import numpy as np

from keras_pointpeft.checkpoints import point_m2ae
from keras_pointpeft.checkpoints.reference import LOGITS
from keras_pointpeft.checkpoints.reference import TOKENS
from keras_pointpeft.checkpoints.reference import case
from keras_pointpeft.checkpoints.transfer import fill
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
    recorded.close("loss", loss(data["labels"], logits), LOGITS / 2)
    if "grad_norms" in data:
        recorded.check_gradients(
            model, names, lambda call: loss(data["labels"], call(points))
        )
