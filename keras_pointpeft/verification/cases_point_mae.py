"""Which code checks which recorded case.

One function per family of cases: it builds our model from the published
configuration and compares.
"""

import json
import pathlib

import numpy as np

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.training.schedule import cosine_with_warmup
from keras_pointpeft.verification.case import LOGITS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import Check
from keras_pointpeft.verification.case import backbone_arguments
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.case import check_classifier
from keras_pointpeft.verification.gradients import forward
from keras_pointpeft.verification.ops import verify_ops_case

# Of learning rates, relative to the peak.
_RATE = 1e-9


def point_mae_backbone(config, peft=None):
    return PointMAEBackbone(
        drop_path_rate=config["drop_path_rate"],
        peft=peft,
        **backbone_arguments(config),
    )


def _option(value):
    return {"None": None, "use": "first"}.get(value, value)


def dapt(config, frozen_bn="track"):
    return DAPT(
        rank=config["rank"],
        dropout=config["drop_adapter_rate"],
        class_token=_option(config["class_token"]),
        prompt_token=_option(config["prompt_token"]),
        patch_token=_option(config["patch_token"]),
        frozen_bn=frozen_bn,
    )


def _classifier(recorded, peft=None, config=None):
    config = config or recorded.config
    backbone = point_mae_backbone(config, peft)
    training = recorded.manifest["forward"]["mode"] == "train"
    return PointCloudClassifier(
        backbone, config["cls_dim"], dropout=0.0 if training else 0.5
    )


@case("pointmae_finetune_*")
def pointmae_finetune(recorded):
    model = _classifier(recorded)
    backbone = model.backbone
    check_classifier(
        recorded,
        model,
        patch_tokens=backbone.get_layer("patch_encoder").output,
        centers=backbone.output["centers"],
        norm_out=backbone.get_layer("norm").output,
    )


@case("dapt_pointmae_tiny_heads")
def dapt_heads(recorded):
    first = recorded.manifest["first_head_layer"]
    for option in recorded.manifest["head_options"]:
        keys = ("class_token", "prompt_token", "patch_token")
        config = {**recorded.config, **dict(zip(keys, option.split("_")))}
        model = _classifier(recorded, dapt(config), config)
        weights = recorded.weights(first[option])
        fill_layout(model, weights, layout_of(model))
        points = recorded.data["points"]
        pooled = model.token_pooling(forward(model.backbone, points))
        recorded.close(f"{option}/pooled", pooled, TOKENS)
        recorded.close(f"{option}/logits", forward(model, points), LOGITS)


@case("dapt_pointmae_*")
def dapt_pointmae(recorded):
    model = _classifier(recorded, dapt(recorded.config))
    backbone = model.backbone
    check_classifier(
        recorded,
        model,
        training=recorded.manifest["forward"]["mode"] == "train",
        patch_tokens=backbone.get_layer("patch_encoder").output,
        centers=backbone.output["centers"],
        norm_out=backbone.get_layer("norm").output,
    )


def verify_lr_schedule(case_dir) -> list[tuple[str, float, float]]:
    """Compares `cosine_with_warmup` with the rates of a reference case.

    Args:
        case_dir: path of a directory with `manifest.json`, whose `"settings"`
            name the schedules, and `data.npz` with one array of rates, one
            per epoch, for each of them.

    Returns:
        A list of `(what, largest difference, tolerance)`. The difference is
        relative to the schedule's peak rate.
    """
    case_dir = pathlib.Path(case_dir)
    manifest = json.loads((case_dir / "manifest.json").read_text())
    results = []
    with np.load(case_dir / "data.npz") as arrays:
        for name, settings in manifest["settings"].items():
            peak = settings["base_lr"]
            rates = [
                cosine_with_warmup(
                    epoch, peak, settings["t_initial"], settings["warmup_t"]
                )
                for epoch in range(settings["epochs_run"])
            ]
            difference = np.max(np.abs(np.array(rates) - arrays[name])) / peak
            results.append((name, float(difference), _RATE))
    return results


@case("ops_lr_schedule")
def learning_rates(recorded):
    for row in verify_lr_schedule(recorded.directory):
        recorded.checks.append(Check(*row))


@case("ops_*")
def point_set_functions(recorded):
    for row in verify_ops_case(recorded.directory):
        recorded.checks.append(Check(*row))
