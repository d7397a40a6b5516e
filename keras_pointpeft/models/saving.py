"""Weights files that know which model they are of.

Shapes do not tell models apart that cut other patches or scale an update
otherwise: weights would load, and classify wrongly.
"""

import json
import pathlib
import warnings
import zipfile

import h5py
from absl import logging

from keras_pointpeft.adapters.settings import described
from keras_pointpeft.adapters.settings import differences
from keras_pointpeft.adapters.settings import number_or_text
from keras_pointpeft.data.h5_files import open_h5
from keras_pointpeft.files.preset_folder import read_json
from keras_pointpeft.files.whole import whole_file

# Where a file has the settings of its model: an attribute of an h5 file, a
# part of the metadata of an index of shards.
SETTINGS = "keras_pointpeft"


class Saving:
    """A mixin for a backbone, or a model of one, before its Keras base.

    `keras.saving.save_weights` and `keras.saving.load_weights` go past it.
    """

    def save(self, filepath, *args, **kwargs):
        """Saves the whole model, see `keras.Model.save`."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                "Keras' old format does not say of which classes a model is, "
                "nor what its base was: save `model.keras`, or the weights "
                "alone by `save_weights('model.weights.h5')`. "
                f"Received: filepath={str(filepath)!r}"
            )
        super().save(filepath, *args, **kwargs)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """Saves the weights, and the settings of the model that they are of.

        See `keras.Model.save_weights`.
        """
        settings = described(self)
        place = pathlib.Path(filepath)
        if max_shard_size is not None:
            place = place.with_suffix(".json")
        before = _state(place)
        super().save_weights(filepath, overwrite, max_shard_size)
        # Keras asks before it overwrites, and does not tell the answer; on
        # another machine there is no file here.
        if _state(place) != before:
            _write_settings(place, settings)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Loads weights that were saved from a model that computes the same.

        Everything is compared before the first weight is changed. Settings of
        training alone, such as rates of dropout, may differ. A file that does
        not know its settings, as Keras and earlier versions write it, is
        loaded if its shapes fit, and a line says so.

        Args:
            filepath: see `keras.Model.load_weights`.
            skip_mismatch: bool. Whether to leave out layers of other shapes;
                other settings are then warned of.
            **kwargs: see `keras.Model.load_weights`.

        Raises:
            ValueError: if a setting that changes what is computed differs.
        """
        settings = read_settings(filepath)
        if settings and (problems := differences(self, settings, whole=True)):
            message = (
                "These weights are of a model that computes something else:"
                "\n  " + "\n  ".join(problems) + "\nBuild this model with the "
                "settings of the saved one. `keras.saving.load_weights(model, "
                "filepath)` loads them all the same, if shapes fit. "
                f"Received: filepath={str(filepath)!r}"
            )
            if not skip_mismatch:
                raise ValueError(message)
            warnings.warn(message, stacklevel=2)
        super().load_weights(filepath, skip_mismatch, **kwargs)
        if settings is None:
            logging.warning(
                "%s does not know the settings of its model, such as "
                "num_groups and group_size: those of this model are taken.",
                filepath,
            )


def read_settings(path):
    """What a file of weights says of its model, see `described`.

    Args:
        path: path of a file, `.weights.h5`, `.weights.json` or `.keras`.

    Returns:
        dict. None for a file that says nothing, or is none.

    Raises:
        ValueError: for a damaged file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        return None
    if path.suffix == ".keras":
        return _settings_of_whole_model(path)
    if path.suffix == ".json":
        return read_json(path).get("metadata", {}).get(SETTINGS)
    with open_h5(path) as file:
        text = file.attrs.get(SETTINGS)
    return None if text is None else json.loads(text)


def _settings_of_whole_model(path):
    """The same of a file that `save` has written, from its configs."""
    try:
        with zipfile.ZipFile(path) as archive:
            saved = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as a .keras file; it is truncated or is "
            f"something else. Received: {error}"
        ) from error
    found, backbone = {}, saved
    if "backbone" in saved["config"]:
        backbone = saved["config"]["backbone"]
        found = {"task": saved["class_name"], "task_config": saved["config"]}
    return {
        "backbone": backbone["class_name"],
        "backbone_config": backbone["config"],
        "peft": backbone["config"].get("peft"),
        **found,
    }


def _write_settings(path, settings):
    if path.suffix == ".json":
        index = read_json(path)
        index["metadata"][SETTINGS] = settings
        with whole_file(path) as place:
            text = json.dumps(index, indent=4, default=number_or_text)
            place.write_text(text, encoding="utf-8")
    else:
        with h5py.File(path, "r+") as file:
            text = json.dumps(settings, default=number_or_text)
            file.attrs[SETTINGS] = text


def _state(path):
    """What tells a file from one that was written in its place."""
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
