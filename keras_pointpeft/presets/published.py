"""Builds presets from files in the layouts of published code."""

import dataclasses
import os

import keras
from absl import logging

from keras_pointpeft import checkpoints
from keras_pointpeft.adapters.copying import copy_weights
from keras_pointpeft.arguments import changes_head
from keras_pointpeft.arguments import split_arguments
from keras_pointpeft.checkpoints.layouts import registry
from keras_pointpeft.checkpoints.reader import INDEX
from keras_pointpeft.checkpoints.reader import shards_of
from keras_pointpeft.files import hub
from keras_pointpeft.presets import cards
from keras_pointpeft.presets.construction import build
from keras_pointpeft.presets.construction import classes_of
from keras_pointpeft.presets.weights import find_file
from keras_pointpeft.presets.weights import not_found
from keras_pointpeft.presets.weights import plain_backbone


def build_and_load(description, load, **kwargs):
    """The model with its weights; a head of another shape starts fresh."""
    if not changes_head(description.task_config, kwargs):
        model = build(description, **kwargs)
        load(model)
        return model
    _, head = split_arguments(kwargs, *classes_of(description))
    rest = {k: v for k, v in kwargs.items() if k not in head}
    tuned = build(description, **rest)
    load(tuned)
    logging.warning(
        "%s: the head has another shape and starts fresh.", description.name
    )
    return tuned.clone(compile=False, **head)


def build_from_file(description, file, stage=None, **kwargs):
    """Builds a preset's model with the weights of a file.

    A file that was tuned asks for what its code computes: the method's
    published mode, and the backbone that its classifiers really have.

    Args:
        description: a `keras_pointpeft.presets.PresetDescription`.
        file: path of a file in the layout of published code, or of Keras
            (`.weights.h5`), or a handle of one, `"hf://owner/name/file.pth"`.
        stage: optional string, what the card says that the file is.
        **kwargs: see `build`.

    Raises:
        CheckpointMismatch: if the file does not fit the preset, or is not
            what the card says.
    """
    path = local_file(file)
    if str(path).endswith(".h5"):
        return build_and_load(
            description, lambda model: model.load_weights(path), **kwargs
        )
    name = description.name
    source, state = _read(name, path, description.backbone_class, stage)

    def load(model):
        logging.info("%s: %s", name, checkpoints.load_into(model, state))

    if description.method is None:
        return build_and_load(description, load, **kwargs)
    if source.stage != registry.FINE_TUNED:
        logging.warning(
            "%s: %s is %s; it fills the backbone, the rest starts fresh.",
            name,
            path,
            source.title,
        )
        model = build(description, **kwargs)
        plain = plain_backbone(model.backbone)
        load(plain)
        copy_weights(plain, model.backbone)
        return model
    if "peft" in kwargs:
        return build_and_load(description, load, **kwargs)
    published = published_mode(description, source, state)
    return build_and_load(published, load, **kwargs)


def _read(name, path, backbone_class, stage):
    """The `Source` of a preset's file, and its tensors by published names."""
    state = checkpoints.read_checkpoint(path)
    source, state = checkpoints.identify(state, backbone_class)
    check_stage(name, source, stage, path)
    return source, state


def load_pretrained(backbone, description):
    """Loads the pre-trained weights under whatever a method added.

    Args:
        backbone: a backbone, with or without a method.
        description: the `PresetDescription` that it was built from.

    Raises:
        WeightsNotFound: if the backbone has no pre-trained weights.
    """
    name = description.pretrained
    entry = cards.read_weights().get(name)
    if entry is None:
        raise not_found(name)
    path = find_file(entry, name)
    logging.info("%s: loading %s", name, path)
    plain = plain_backbone(backbone)
    if entry["format"] == "pth":
        kind = type(backbone).__name__
        _, state = _read(name, path, kind, entry.get("stage"))
        logging.info("%s: %s", name, checkpoints.load_into(plain, state))
    else:
        keras.saving.load_weights(plain, path)
    copy_weights(plain, backbone)


def from_file(file, load_weights=True, **kwargs):
    """Builds the model that a file of published weights fits.

    Args:
        file: see `build_from_file`.
        load_weights: `True`; the file has nothing else to offer.
        **kwargs: none is taken: the file says what the model is.

    Raises:
        TypeError: for a keyword argument.
        CheckpointMismatch: if the file does not say what it fits, as one that
            was tuned with a method does not.
    """
    if load_weights is not True or kwargs:
        received = {"load_weights": load_weights, **kwargs}
        raise TypeError(
            "A file says by itself what its model is. To change that, name "
            "the preset that it belongs to: from_preset(NAME, "
            f"load_weights={file!r}, ...). Received: {received}"
        )
    model, report = checkpoints.build(local_file(file))
    logging.info("%s: %s", file, report)
    return model


def published_mode(description, source, state):
    """The description as the file's published code would have it.

    Args:
        description: a `keras_pointpeft.presets.PresetDescription`.
        source: the file's `keras_pointpeft.checkpoints.Source`.
        state: dict from name to array, as `identify` returns it.
    """
    backbone, mode = registry.mode_of(
        state, description.backbone_class, description.method_class
    )
    if description.backbone_class in source.backbones:
        backbone = description.backbone_class
    if backbone != description.backbone_class:
        logging.info(
            "%s: the published classifier has the blocks of a %s.",
            description.name,
            backbone,
        )
    known = description.method_config
    changed = {k: v for k, v in mode.items() if known.get(k) != v}
    if changed:
        logging.info(
            "%s: built with %s, as its published code computes.",
            description.name,
            ", ".join(f"{k}={v!r}" for k, v in changed.items()),
        )
    return dataclasses.replace(
        description,
        backbone_class=backbone,
        method_config={**known, **mode},
    )


def check_stage(name, source, stage, path):
    """Whether a file is what it should be: pre-trained, or later.

    Args:
        name: string, the preset.
        source: the file's `keras_pointpeft.checkpoints.Source`.
        stage: string, what the card says of this very file, or None for a
            file that the user has given.
        path: path of the file, for messages.

    Raises:
        CheckpointMismatch: if the card's file is another one.
    """
    if stage is not None and stage != source.stage:
        raise checkpoints.CheckpointMismatch(
            f"The card of {name} says that its file is {stage}; "
            f"this is {source.title}. Whoever published it may have put "
            f"another one in its place. Received: {path}"
        )
    card = cards.read_weights().get(name, {}).get("stage")
    if stage is None and card is not None and card != source.stage:
        logging.warning(
            "%s: published results start from a file that is %s; this is %s: "
            "%s",
            name,
            card,
            source.title,
            path,
        )


def names_file(preset):
    """Whether a preset's name is that of a file of weights, or its handle."""
    scheme, _, name = preset.rpartition("://")
    if scheme == "hf":
        return name.count("/") >= 2
    return not scheme and os.path.isfile(preset)


def local_file(file):
    """The path of a file, fetched from a hub if it is a handle.

    Args:
        file: path, or `"hf://owner/name/file"`; of a checkpoint in shards,
            the handle of its index.
    """
    file = os.fspath(file)
    if "://" not in file:
        return file
    path = hub.download_file(file)
    if file.endswith(INDEX):
        folder = file.rpartition("/")[0]
        for shard in sorted(set(shards_of(path).values())):
            hub.download_file(f"{folder}/{shard}")
    return path
