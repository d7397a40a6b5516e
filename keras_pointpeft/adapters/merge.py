"""Folds what a method has trained into the weights of the backbone."""

import numpy as np
from keras import ops

from keras_pointpeft.adapters.copying import assign_common
from keras_pointpeft.files.progress import telling
from keras_pointpeft.layers.tuner import BLOCK_SITES
from keras_pointpeft.peft.freezing import UNKNOWN
from keras_pointpeft.peft.freezing import own_variables
from keras_pointpeft.peft.freezing import set_base
from keras_pointpeft.peft.method import is_added
from keras_pointpeft.peft.method import weights_of

KERNELS = {"kernel": "bias", "gamma": "beta"}


@telling("merging")
def merge(task, partial=False):
    """A task without the method's additions, and with the same logits.

    What stands behind or beside a linear layer or a norm, and is linear
    itself, can be folded into its weights: the updates of `LoRA`, and the
    transforms of `SSF`. `BitFit` has nothing to fold. The merged model costs
    what the backbone alone costs. Logits agree but for rounding.

    Args:
        task: a task with a `backbone` that a method tunes.
        partial: bool. Whether to fold what can be folded of a method and
            leave the rest, as of `DAPT`, whose transforms can be folded and
            whose adapters cannot.

    Returns:
        A new task. With `partial`, of a method without what was folded.

    Raises:
        ValueError: if the method cannot be folded exactly, or the backbone
            has no place for the result.

    Example:
    ```python
    lora = keras_pointpeft.from_preset("lora_pointmaetiny_shapes")
    merged = keras_pointpeft.adapters.merge(lora)
    merged.save_to_preset("merged")
    ```
    """
    backbone = task.backbone
    if backbone.peft is None:
        raise ValueError(
            "There is no method to merge. Received: a backbone with peft=None"
        )
    rest = backbone.peft.merged(partial)
    changes = {"peft": rest}
    weights = {
        path: np.array(ops.convert_to_numpy(variable), "float32")
        for path, variable in own_variables(backbone).items()
    }
    _fold_blocks(backbone, weights)
    _fold_patches(backbone, weights)
    _fold_final(backbone, weights)
    if any(path.endswith("/qkv/bias") for path in weights):
        changes |= {"qkv_bias": True} if hasattr(backbone, "qkv_bias") else {}
    if hasattr(task, "pooling"):
        changes["pooling"] = task.pooling
    # A bias that has become necessary starts at 0.
    merged = task.clone(weights=False, compile=False, **changes)
    # What stays of the method, and the head.
    weights = {**weights_of(task), **weights}
    places = weights_of(merged)
    lost = [p for p in weights if p not in places and not is_added(p)]
    if lost:
        raise ValueError(
            f"{type(backbone).__name__} has no place for what came of merging: "
            f"{lost}. Received: peft={type(backbone.peft).__name__}"
        )
    for path, variable in places.items():
        weights.setdefault(path, np.zeros(variable.shape))
    assign_common(weights, merged)
    merged.contract = task.contract
    if rest is not None:
        set_base(merged.backbone, UNKNOWN)
    return merged


def _fold_blocks(backbone, weights):
    for i in range(backbone.depth):
        block = backbone.get_layer(f"block_{i}")
        if block.tuner is None:
            continue
        for site in BLOCK_SITES:
            paths = [f"block_{i}/{site}"]
            # Contrast tokens have a query of their own.
            if block.contrast is not None and site != "qkv":
                paths.append(f"block_{i}/contrast/{site}")
            for path in paths:
                _fold(weights, path, lambda k, b: block.tuner.fold(site, k, b))


def _fold_patches(backbone, weights):
    """Transforms of patch tokens, into the layer that they come from."""
    for layer in backbone.layers:
        if not layer.name.startswith("tuner_patches"):
            continue
        suffix = layer.name.removeprefix("tuner_patches")
        path = f"patch_encoder{suffix}/conv4"
        if "projection/kernel" in weights:
            path = "projection"
        elif np.any(ops.convert_to_numpy(layer.gamma) < 0.0):
            raise ValueError(
                "The transform of the patch tokens follows a maximum, past "
                "which a negative scale cannot be folded. Received: "
                f"{layer.name}/gamma with negative entries"
            )
        _fold(weights, path, layer.fold)


def _fold_final(backbone, weights):
    for layer in backbone.layers:
        if layer.name == "tuner_norm":
            _fold(weights, "norm", layer.fold)


def _fold(weights, path, fold):
    """Folds something into the layer at a path.

    Args:
        weights: dict from path to array, changed in place.
        path: string.
        fold: function from kernel and bias to both.
    """
    for kernel, bias in KERNELS.items():
        kernel, bias = f"{path}/{kernel}", f"{path}/{bias}"
        if kernel not in weights:
            continue
        before = weights.get(bias)
        missing = np.zeros(weights[kernel].shape[-1], "float32")
        weights[kernel], after = fold(
            weights[kernel], missing if before is None else before
        )
        # A layer without bias gets one only if it is needed.
        if before is not None or np.any(after):
            weights[bias] = after
