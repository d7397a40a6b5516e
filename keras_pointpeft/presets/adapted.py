"""The model of an adapter, from the adapter alone."""

import os

import keras

from keras_pointpeft import adapters
from keras_pointpeft.adapters.copying import copy_weights
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.files.hub import local_directory
from keras_pointpeft.files.progress import telling
from keras_pointpeft.presets.building import from_preset


@telling("building the model")
def from_adapter(path, backbone=None, preset=None):
    """Builds the model that an adapter belongs to, and loads the adapter.

    The adapter says which preset it was trained from, with which method and
    for how many classes, and what the backbone started from.

    Args:
        path: directory that `save_adapter` wrote, or `"hf://owner/name"`.
        backbone: optional path, the preset directory of the backbone that it
            was trained on. By default where it was in training, or the
            preset's own pre-trained backbone.
        preset: optional string, a preset or preset directory in place of the
            adapter's.

    Returns:
        A task such as `keras_pointpeft.models.PointCloudClassifier`.

    Raises:
        ValueError: if nobody knows the adapter's preset, or the backbone is
            another than it was trained on.
        FileNotFoundError: if the adapter, or the backbone that it was trained
            on, is not there.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.save_adapter("my_task")
    again = keras_pointpeft.from_adapter("my_task")
    ```
    """
    path = local_directory(path)
    config = adapters.read_config(path)
    contract = Contract.from_dict(config.get("contract"))
    preset = preset or contract.preset or config["base_preset"]
    if preset is None:
        raise ValueError(
            "This adapter does not know the preset of its model. Build the "
            "model as it was trained and call `load_adapter`, or name a "
            f"preset. Received: {str(path)!r}"
        )
    start = backbone or contract.backbone or "backbone"
    arguments = dict(config["task_config"])
    arguments["peft"] = keras.saving.deserialize_keras_object(config["peft"])
    arguments.update(config.get("backbone_config", {}))
    if start == "random":
        # Drawn once more as training drew it.
        keras.utils.set_random_seed(contract.seed or 0)
    model = from_preset(
        preset,
        load_weights="backbone" if start == "backbone" else False,
        **arguments,
    )
    if start not in ("backbone", "random"):
        if not os.path.isdir(start):
            raise FileNotFoundError(
                "The backbone that this adapter was trained on is not there; "
                "say where it is by `backbone` (--backbone=DIR). "
                f"Received: {start!r}"
            )
        source = from_preset(start)
        copy_weights(getattr(source, "backbone", source), model.backbone)
    model.load_adapter(path)
    return model
