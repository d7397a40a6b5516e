"""Loads published checkpoints into our models, and builds what they fit."""

import re

import numpy as np
from absl import logging

from keras_pointpeft.checkpoints.layouts import classifier
from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.layouts import segmentation
from keras_pointpeft.checkpoints.layouts.point_gpt import POST_CLASSES
from keras_pointpeft.checkpoints.layouts.point_peft import attach_bank
from keras_pointpeft.checkpoints.layouts.registry import FINE_TUNED
from keras_pointpeft.checkpoints.layouts.registry import POST_PRETRAINED
from keras_pointpeft.checkpoints.layouts.registry import method_of
from keras_pointpeft.checkpoints.reader import read_array
from keras_pointpeft.checkpoints.reader import read_checkpoint
from keras_pointpeft.checkpoints.sources import identify
from keras_pointpeft.checkpoints.sources import method_of as method_title
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.files.progress import telling
from keras_pointpeft.models.pretraining.pretrainer import Pretrainer
from keras_pointpeft.peft.freezing import UNKNOWN
from keras_pointpeft.peft.freezing import set_base
from keras_pointpeft.peft.method import ADDED

GENERATOR = r"(^|\.)generator_blocks\."
# The parts of a task beside its backbone.
NEW_PARTS = r"^(head|propagation\w*|category_feature|graph_\d)/"
NEW_HEAD = "the pre-training has no such head"
NEW_METHOD = "the method starts fresh"
# Attention heads by width, in the published sizes; no tensor shows them.
NUM_HEADS = {192: 3, 256: 4, 384: 6, 768: 12, 1024: 16}


@telling("loading weights")
def load_into(model, path, pretrained=None, bank=None):
    """Loads a published checkpoint into a model.

    What the file is, is told by the names in it. Every tensor is used or
    left out for a stated reason, and nothing is assigned unless all fits.

    Args:
        model: a `keras_pointpeft.models.PointBackbone`, a task with one, or a
            model that pre-trains one.
        path: path of a file that `read_checkpoint` reads, or a state dict as
            it returns it.
        pretrained: optional, likewise: the pre-trained file that a Point-PEFT
            classifier was tuned from. With it the frozen biases and what
            their training added are told apart, and queries of the bank are
            those of the frozen model.
        bank: optional array `(dim, entries)`, or the path of a file of one:
            the bank of a Point-PEFT classifier, as its authors keep it.

    Returns:
        A `TransferReport`.

    Raises:
        CheckpointRefused: if the file cannot be read as tensors.
        CheckpointMismatch: naming the offending tensors, or the backbone
            that the file looks like.
        ValueError: if `pretrained` or `bank` is given and the model's method
            has no use for it.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone()
    print(keras_pointpeft.checkpoints.load_into(backbone, "pretrain.pth"))
    ```
    """
    state = _state_of(path)
    backbone = getattr(model, "backbone", model)
    kind = type(backbone).__name__
    source, state = identify(state, kind)
    if kind not in source.backbones:
        raise CheckpointMismatch(
            f"The file looks like {source.title}, for a "
            f"{' or '.join(source.backbones)}. Received: a {kind} to load it "
            "into"
        )
    fresh = source.stage != FINE_TUNED and not _whole(model, source)
    layout = layout_of(model, tuned=not fresh)
    if not layout.differences and (pretrained, bank) != (None, None):
        raise ValueError(
            "`pretrained` and `bank` are for models with Point-PEFT. "
            f"Received: a model with peft={backbone.peft!r}"
        )
    if isinstance(model, Pretrainer):
        ignored, initial = {}, {}
    else:
        ignored, initial = _left_out(model, backbone, source, fresh)
        layout = layout.prefixed(source.prefix)
    _say_mode(backbone, source, state)
    before = None
    if pretrained is not None:
        before = _plain_state(pretrained, kind)
    try:
        report = fill_layout(
            model, state, layout, ignored, initial, source.title, before
        )
    except CheckpointMismatch as error:
        raise _explained(error, source, state, model) from error
    # A tuned file does not say what its method has changed.
    set_base(backbone, None if source.pretrained else UNKNOWN)
    if bank is not None:
        attach_bank(model, read_array(bank))
    return report


def _state_of(path):
    return path if isinstance(path, dict) else read_checkpoint(path)


def _plain_state(path, kind):
    """A pre-trained state dict, by the names of classifiers."""
    source, state = identify(_state_of(path), kind)
    if not source.pretrained:
        raise CheckpointMismatch(
            f"`pretrained` must be a pre-trained file. Received: {source.title}"
        )
    return {name.removeprefix(source.prefix): x for name, x in state.items()}


def _whole(model, source):
    """Whether a classifier is what a pre-training with labels trained."""
    post = source.stage == POST_PRETRAINED
    return post and getattr(model, "num_classes", None) == POST_CLASSES


def _left_out(model, backbone, source, fresh):
    """What of the file, and of the model, has no counterpart."""
    ignored, initial = dict(source.ignored), dict(source.initial)
    heads = (classifier.HEAD, segmentation.HEAD)
    if fresh:
        initial[ADDED] = NEW_METHOD
        initial[NEW_PARTS] = NEW_HEAD
    if model is backbone and not source.pretrained:
        ignored |= dict.fromkeys(heads, "the backbone alone has no head")
    elif source.stage == POST_PRETRAINED and fresh:
        ignored[classifier.HEAD] = "the head of the pre-training with labels"
    if not getattr(backbone, "generator_depth", 1):
        ignored[GENERATOR] = "the backbone has no generation branch"
    return ignored, initial


def _say_mode(backbone, source, state):
    """Says so if the model computes something else than the file's code."""
    method = method_of(backbone)
    if source.pretrained or method is None:
        return
    wanted = method.mode(state)
    found = {k: getattr(backbone.peft, k) for k in wanted}
    if found != wanted and method.title == method_title(state):
        logging.warning(
            "%s: its published code computes what %s(%s) does. Received: %s",
            source.title,
            type(backbone.peft).__name__,
            ", ".join(f"{k}={v!r}" for k, v in wanted.items()),
            ", ".join(f"{k}={v!r}" for k, v in found.items()),
        )


def _explained(error, source, state, model):
    """The error with what the file was made for, where that differs."""
    notes = []
    backbone = getattr(model, "backbone", model)
    method = method_title(state)
    if method is not None and not source.pretrained:
        peft = type(backbone.peft).__name__ if backbone.peft else None
        notes.append(
            f"The file was tuned with {method}; the model was built with "
            f"peft={peft}."
        )
    dense = hasattr(model, "dense")
    parts = any(re.search(r"^(convs\d|conv1\.)", name) for name in state)
    if not source.pretrained and model is not backbone and parts != dense:
        task = "segmentation" if parts else "classification"
        notes.append(
            f"The file is of {task}; the model is a {type(model).__name__}."
        )
    return CheckpointMismatch("\n".join([str(error), *notes]), error.problems)


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
    kind, method = source.backbones[0], method_title(state)
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


@telling("building the model")
def build(path):
    """Builds and fills the model that a published checkpoint fits.

    Args:
        path: path of a file that `read_checkpoint` reads, or a state dict.

    Returns:
        The model and a `TransferReport`. The model is a
        `keras_pointpeft.models.PointCloudClassifier` if the file has a head
        for classes, else a backbone.
    """
    from keras_pointpeft import models

    state = _state_of(path)
    kind, arguments, num_classes = infer(state)
    model = getattr(models, kind)(**arguments)
    if num_classes is not None:
        model = models.PointCloudClassifier(model, num_classes)
    return model, load_into(model, state)
