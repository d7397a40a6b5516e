"""Builds models from presets: the front door."""

import os

from absl import logging

from keras_pointpeft.arguments import changes_head
from keras_pointpeft.arguments import split_arguments
from keras_pointpeft.files import hub
from keras_pointpeft.presets import cards
from keras_pointpeft.presets.names import products
from keras_pointpeft.presets.names import resolve
from keras_pointpeft.presets.names import unknown_name
from keras_pointpeft.presets.weights import load_file
from keras_pointpeft.presets.weights import load_pretrained
from keras_pointpeft.presets.weights import not_found


def build(description, **kwargs):
    """Builds the model of a `PresetDescription` with random weights.

    Args:
        description: a `keras_pointpeft.presets.PresetDescription`.
        **kwargs: constructor arguments of backbone and task, see
            `keras_pointpeft.from_preset`.

    Returns:
        A task, or a backbone if the preset is a backbone alone.

    Raises:
        TypeError: for an unknown keyword argument.
    """
    from keras_pointpeft import models
    from keras_pointpeft import peft

    backbone_class = find_class(description.backbone_class, models)
    task_class = None
    if description.task_class is not None:
        task_class = getattr(models, description.task_class)
    ours, theirs = split_arguments(kwargs, backbone_class, task_class)
    config = backbone_class.translated(description.backbone_config)
    ours = {**config, **ours}
    if description.method_class is not None and "peft" not in ours:
        method_class = find_class(description.method_class, peft)
        ours["peft"] = method_class.from_config(description.method_config)
    model = backbone_class(**ours)
    if task_class is not None:
        model = task_class(model, **{**description.task_config, **theirs})
    model.preset = description.name
    return model


def find_class(name, module):
    """The class that a card names.

    Args:
        name: string, a class of `module`, or `"package>Class"`.
        module: the module of this package that has such classes.

    Raises:
        ValueError: if there is no such class; it may only lack an import.
    """
    import keras

    if ">" not in name and hasattr(module, name):
        return getattr(module, name)
    found = keras.saving.get_registered_object(name)
    if found is None:
        raise ValueError(
            f"A card names a class of {module.__name__}, or one that is "
            "registered with Keras, 'package>Class', and has been imported. "
            f"Received: {name!r}"
        )
    return found


def build_with_weights(description, load_weights, **kwargs):
    """Builds a built-in preset's model and loads what belongs to it.

    Args:
        description: a `keras_pointpeft.presets.PresetDescription`.
        load_weights: `True`, `False` or `"backbone"`.
        **kwargs: see `build`.

    Returns:
        A task or a backbone. See `keras_pointpeft.from_preset`.
    """
    model = build(description, **kwargs)
    if load_weights is False:
        return model
    if description.method is None:
        if description.weights is None:
            raise not_found(description.name)
        load_file(model, description.weights, description.name)
        return model
    own = description.weights is not None and load_weights is True
    if own and "peft" not in kwargs:
        new_head = changes_head(description.task_config, kwargs)
        if not new_head:
            load_file(model, description.weights, description.name)
            return model
        _, head = split_arguments(kwargs, type(model.backbone), type(model))
        rest = {k: v for k, v in kwargs.items() if k not in head}
        tuned = build(description, **rest)
        load_file(tuned, description.weights, description.name)
        logging.warning(
            "%s: the head has another shape and starts fresh.",
            description.name,
        )
        return tuned.clone(compile=False, **head)
    if load_weights is True:
        logging.warning(
            "%s: no tuned weights %s; loading the pre-trained backbone %s, "
            "the rest starts fresh.",
            description.name,
            "for another `peft`" if own else "are published",
            description.pretrained,
        )
    load_pretrained(model.backbone, description)
    return model


def from_preset(preset, load_weights=True, **kwargs):
    """Builds a model, with its weights, from a preset.

    Args:
        preset: string. A built-in name (see `list_presets`), a directory
            written by `save_to_preset`, or the handle of such a directory on
            a hub: `"hf://owner/name"` or `"kaggle://owner/model/keras/name"`.
        load_weights: `True` for the preset's own weights; they are looked for
            in the installed zoo, then in the cache (`KERAS_HOME`), then in
            the authors' release. If no tuned weights exist, the pre-trained
            backbone is loaded, the method starts fresh, and a warning says
            so. `"backbone"` asks for just that, as training does. `False`
            for random weights; nothing is read or downloaded.
        **kwargs: constructor arguments of the backbone (`peft`, `dtype`,
            `num_groups` ...) and of the task (`num_classes`, `dropout` ...)
            that replace the preset's. A head of another shape starts fresh.
            With another `peft`, only the backbone is loaded, and
            `peft=None` leaves the method away.

    Returns:
        A task such as `keras_pointpeft.models.PointCloudClassifier`, or, for
        a backbone's preset, a `keras_pointpeft.models.PointBackbone`.

    Raises:
        TypeError: for an unknown keyword argument.
        ValueError: for an unknown name.
        WeightsNotFound: if there are no weights to load.
        DownloadError: if a release cannot be downloaded.

    Example:
    ```python
    model = keras_pointpeft.from_preset(
        "dapt_pointmae_scanobjectnn", load_weights="backbone", num_classes=4
    )
    model.fit(points, labels, epochs=10)
    ```
    """
    from keras_pointpeft.presets import directory  # imports Keras

    if load_weights not in (True, False, "backbone"):
        raise ValueError(
            "`load_weights` must be True, False or 'backbone'. "
            f"Received: load_weights={load_weights!r}"
        )
    preset = os.fspath(preset)
    if "://" in preset:
        preset = hub.download(preset)
    elif preset in products(cards.folders()):
        return build_with_weights(
            resolve(preset), load_weights, **kwargs
        )
    if not os.path.isdir(preset):
        raise unknown_name(preset, "built-in preset or directory")
    return directory.load(preset, load_weights, **kwargs)
