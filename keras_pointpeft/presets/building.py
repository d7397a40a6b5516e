"""Builds models from presets: the front door."""

import os

from absl import logging

from keras_pointpeft.arguments import split_arguments
from keras_pointpeft.files import hub
from keras_pointpeft.files.progress import telling
from keras_pointpeft.presets import cards
from keras_pointpeft.presets.construction import build
from keras_pointpeft.presets.construction import classes_of
from keras_pointpeft.presets.names import products
from keras_pointpeft.presets.names import resolve
from keras_pointpeft.presets.names import unknown_name
from keras_pointpeft.presets.weights import find_file
from keras_pointpeft.presets.weights import not_found


def build_with_weights(description, load_weights, **kwargs):
    """Builds a built-in preset's model and loads what belongs to it.

    Args:
        description: a `keras_pointpeft.presets.PresetDescription`.
        load_weights: `True`, `False`, `"backbone"` or a file.
        **kwargs: see `build`.

    Returns:
        A task or a backbone. See `keras_pointpeft.from_preset`.
    """
    from keras_pointpeft.presets import published

    # Before anything is fetched: whether all arguments are known.
    split_arguments(kwargs, *classes_of(description))
    if load_weights is False:
        return build(description, **kwargs)
    if load_weights not in (True, "backbone"):
        return published.build_from_file(description, load_weights, **kwargs)
    entry = description.weights
    if description.method is None:
        if entry is None:
            raise not_found(description.name)
        return build_from_entry(description, entry, **kwargs)
    own = entry is not None and load_weights is True
    if own and "peft" not in kwargs:
        return build_from_entry(description, entry, **kwargs)
    model = build(description, **kwargs)
    if load_weights is True:
        logging.warning(
            "%s: no tuned weights %s; loading the pre-trained backbone %s, "
            "the rest starts fresh.",
            description.name,
            "for another `peft`" if own else "are published",
            description.pretrained,
        )
    published.load_pretrained(model.backbone, description)
    return model


def build_from_entry(description, entry, **kwargs):
    """Builds a preset's model with the weights that `weights.json` names.

    Args:
        description: a `keras_pointpeft.presets.PresetDescription`.
        entry: dict, what `weights.json` says of the weights.
        **kwargs: see `build`.
    """
    import keras

    from keras_pointpeft.presets import published

    path = find_file(entry, description.name)
    logging.info("%s: loading %s", description.name, path)
    if entry["format"] == "pth":
        return published.build_from_file(
            description, path, entry.get("stage"), **kwargs
        )

    def load(model):
        if entry["format"] == "adapter":
            published.load_pretrained(model.backbone, description)
            model.load_adapter(path)
        else:
            keras.saving.load_weights(model, path)

    return published.build_and_load(description, load, **kwargs)


@telling("building the model")
def from_preset(preset, load_weights=True, **kwargs):
    """Builds a model, with its weights, from a preset.

    Args:
        preset: string. A built-in name (see `list_presets`), a directory
            written by `save_to_preset`, or the handle of such a directory on
            a hub: `"hf://owner/name"` or `"kaggle://owner/model/keras/name"`.
            Also a file of published weights that says by itself what it
            fits, here or on a hub: `"hf://owner/name/pretrain.pth"`.
        load_weights: `True` for the preset's own weights; they are looked for
            in the installed zoo, then in the cache (`KERAS_HOME`), then in
            the authors' release. If no tuned weights exist, the pre-trained
            backbone is loaded, the method starts fresh, and a warning says
            so. `"backbone"` asks for just that, as training does. `False`
            for random weights; nothing is read or downloaded. Of a built-in
            preset also the path of a file in the published layout (`.pth`,
            `.safetensors`), or its handle; a pre-trained one fills the
            backbone, and one that was tuned the whole model.
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
    from keras_pointpeft.presets import published

    preset = os.fspath(preset)
    built_in = preset in products(cards.folders())
    _check_load_weights(load_weights, built_in)
    if built_in:
        return build_with_weights(
            resolve(preset), load_weights, **kwargs
        )
    if published.names_file(preset):
        return published.from_file(preset, load_weights, **kwargs)
    if "://" in preset:
        preset = hub.download(preset)
    if not os.path.isdir(preset):
        raise unknown_name(preset, "built-in preset or directory")
    return directory.load(preset, load_weights, **kwargs)


def _check_load_weights(load_weights, built_in):
    if load_weights in (True, False, "backbone"):
        return
    path = isinstance(load_weights, (str, os.PathLike)) and built_in
    if path and ("://" in str(load_weights) or os.path.exists(load_weights)):
        return
    raise ValueError(
        "`load_weights` must be True, False or 'backbone', or, for a "
        "built-in preset, a file of weights that is there. "
        f"Received: load_weights={load_weights!r}"
    )
