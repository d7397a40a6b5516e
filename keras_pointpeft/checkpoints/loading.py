"""Loads published checkpoints into our models, and builds what they fit."""

import re

import numpy as np

from keras_pointpeft.adapters.base import UNKNOWN
from keras_pointpeft.adapters.base import set_base
from keras_pointpeft.checkpoints.layouts.registry import published_names
from keras_pointpeft.checkpoints.names import NameMap
from keras_pointpeft.checkpoints.reader import read_checkpoint
from keras_pointpeft.checkpoints.sources import NEW_HEAD
from keras_pointpeft.checkpoints.sources import NEW_METHOD
from keras_pointpeft.checkpoints.sources import identify
from keras_pointpeft.checkpoints.sources import method_of
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.checkpoints.transfer import fill
from keras_pointpeft.peft.paths import ADDED

HEAD = r"(^|\.)cls_head_finetune\."
GENERATOR = r"(^|\.)generator_blocks\."
# Attention heads by width, in the published sizes; no tensor shows them.
NUM_HEADS = {192: 3, 256: 4, 384: 6, 768: 12, 1024: 16}


def load_into(model, path):
    """Loads a published checkpoint into a model.

    What the file is, is told by the names in it. Every tensor is used or
    left out for a stated reason, and nothing is assigned unless all fits.

    Args:
        model: a `keras_pointpeft.models.PointBackbone`, or a task with one.
        path: path of a `.pth` file, or a state dict as `read_checkpoint`
            returns it.

    Returns:
        A `TransferReport`.

    Raises:
        CheckpointRefused: if the file cannot be read as tensors.
        CheckpointMismatch: naming the offending tensors, or the backbone
            that the file looks like.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone()
    print(keras_pointpeft.checkpoints.load_into(backbone, "pretrain.pth"))
    ```
    """
    state = path if isinstance(path, dict) else read_checkpoint(path)
    source, state = identify(state)
    backbone = getattr(model, "backbone", model)
    kind = type(backbone).__name__
    if kind not in source.backbones:
        raise CheckpointMismatch(
            f"The file looks like {source.title}, for a "
            f"{' or '.join(source.backbones)}. Received: a {kind} to load it "
            "into"
        )
    ignored, initial = dict(source.ignored), dict(source.initial)
    if source.pretrained:
        initial[ADDED] = NEW_METHOD
        initial[r"^head/"] = NEW_HEAD
    elif model is backbone:
        ignored[HEAD] = "the backbone alone has no head"
    if not getattr(backbone, "generator_depth", 1):
        ignored[GENERATOR] = "the backbone has no generation branch"
    names = published_names(model)
    names = NameMap(names.modules, names.parameters, source.prefix)
    try:
        report = fill(model, state, names, ignored, initial, source.title)
        # A tuned file does not say what its method has changed.
        set_base(backbone, None if source.pretrained else UNKNOWN)
        return report
    except CheckpointMismatch as error:
        method = method_of(state)
        if method is None or source.pretrained:
            raise
        peft = type(backbone.peft).__name__ if backbone.peft else None
        raise CheckpointMismatch(
            f"{error}\nThe file was tuned with {method}; the model was built "
            f"with peft={peft}."
        ) from error


def infer(state):
    """Says which model a checkpoint fits, by its names and shapes.

    Args:
        state: dict from name to array, as `read_checkpoint` returns it.

    Returns:
        The name of a backbone class, a dict of its constructor arguments,
        and the number of classes of the file's head, or None. Group numbers
        and sizes are the published ones of the backbone's defaults.

    Raises:
        CheckpointMismatch: if the file does not say all of it.
    """
    source, state = identify(state)
    kind, method = source.backbones[0], method_of(state)
    if method is not None and not source.pretrained:
        raise CheckpointMismatch(
            f"The file was tuned with {method}, whose settings no tensor "
            "shows; name the preset that it belongs to. Received: "
            f"{source.title}"
        )
    if kind == "PointM2AEBackbone":
        raise CheckpointMismatch(
            "The sizes of a Point-M2AE cannot be told from its tensors; name "
            f"the preset that it belongs to. Received: {source.title}"
        )
    if "ACT" in source.title and source.pretrained:
        kind = "ACTBackbone"
    start = source.prefix

    def width(name):
        if start + name not in state or not np.ndim(state[start + name]):
            raise CheckpointMismatch(
                f"{source.title}: the tensor {start + name} is missing. "
                f"Received: {len(state)} tensors"
            )
        return int(state[start + name].shape[0])

    convolutions = sorted(
        name[len(start) :]
        for name, value in state.items()
        if name.startswith(f"{start}encoder.first_conv.")
        and name.endswith(".weight")
        and np.ndim(value) == 3
    )
    dims = [width(name) for name in convolutions]
    arguments = {
        "dim": width("norm.weight"),
        # Not `blocks.cls_head_finetune.8`, which PointGPT has too.
        "depth": _depth(
            state, rf"^{re.escape(start)}blocks\.(?:blocks|layers)\.(\d+)\."
        ),
        "encoder_dims": (*dims, width("encoder.second_conv.0.weight")),
        "skip_origin": True,
    }
    dim = arguments["dim"]
    if dim not in NUM_HEADS:
        raise CheckpointMismatch(
            f"No published model has tokens {dim} wide, so the number of its "
            f"attention heads is unknown. Received: {source.title}"
        )
    arguments["num_heads"] = NUM_HEADS[dim]
    if kind == "PointBERTBackbone":
        arguments["token_dim"] = width("encoder.second_conv.3.weight")
    if kind == "PointGPTBackbone":
        arguments["generator_depth"] = _depth(
            state, rf"^{re.escape(start)}generator_blocks\.layers\.(\d+)\."
        )
        points = "blocks.increase_dim.0.bias"
        if start + points in state:
            arguments["group_size"] = width(points) // 3
    head = {
        int(found[1]): value.shape[0]
        for name, value in state.items()
        if (found := re.search(r"cls_head_finetune\.(\d+)\.weight$", name))
        and np.ndim(value) == 2
    }
    return kind, arguments, int(head[max(head)]) if head else None


def _depth(state, pattern):
    numbers = [
        int(found[1]) for name in state if (found := re.search(pattern, name))
    ]
    return max(numbers, default=-1) + 1


def build(path):
    """Builds and fills the model that a published checkpoint fits.

    Args:
        path: path of a `.pth` file, or a state dict.

    Returns:
        The model and a `TransferReport`. The model is a
        `keras_pointpeft.models.PointCloudClassifier` if the file has a head
        for classes, else a backbone.
    """
    from keras_pointpeft import models

    state = path if isinstance(path, dict) else read_checkpoint(path)
    kind, arguments, num_classes = infer(state)
    model = getattr(models, kind)(**arguments)
    if num_classes is not None:
        model = models.PointCloudClassifier(model, num_classes)
    return model, load_into(model, state)
