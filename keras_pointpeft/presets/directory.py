"""Presets in directories: written by `save_to_preset`, or on a hub."""

from pathlib import Path

import keras
from absl import logging

from keras_pointpeft.arguments import changes_head
from keras_pointpeft.arguments import constructor_arguments
from keras_pointpeft.arguments import split_arguments
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.files import preset_folder
from keras_pointpeft.presets.weights import WeightsNotFound

BACKBONE_CONFIG, TASK_CONFIG = "config.json", "task.json"
BACKBONE_WEIGHTS = ("model.weights.h5", "model.weights.json")
TASK_WEIGHTS = "task.weights.h5"
CONTRACT = "contract.json"


def load(directory, load_weights=True, **kwargs):
    """Builds the model of a preset directory.

    Args:
        directory: path.
        load_weights: `True`; `False` for random weights; `"backbone"` to
            leave the task's head fresh.
        **kwargs: constructor arguments that replace those in the directory,
            see `keras_pointpeft.from_preset`.

    Returns:
        A task if the directory holds one, else a backbone.

    Raises:
        ValueError: if the directory is not a preset of this package, is
            damaged, or was written by a later version.
        TypeError: for an unknown keyword argument.
        WeightsNotFound: if the weights are missing.
    """
    directory = Path(directory)
    _check(directory, load_weights)
    backbone_class, config = _read(directory, BACKBONE_CONFIG)
    task_class, task_config = None, {}
    if (directory / TASK_CONFIG).is_file():
        task_class, task_config = _read(directory, TASK_CONFIG)
        task_config = {
            name: value
            for name, value in task_config.items()
            if name not in ("backbone", "preprocessor")
        }
    ours, theirs = split_arguments(kwargs, backbone_class, task_class)
    if load_weights:
        _check_size(directory, config)
    # What may differ from the backbone that was saved.
    apart = ("peft", "use_class_token")
    changes = {name: x for name, x in ours.items() if name in apart}
    rest = {k: v for k, v in ours.items() if k not in changes}
    backbone = backbone_class.from_config({**config, **rest})
    if load_weights:
        # Not by its method: what differs was asked for.
        path = _existing(directory, BACKBONE_WEIGHTS)
        keras.saving.load_weights(backbone, path)
    if changes:
        backbone = backbone.clone(bool(load_weights), **changes)
    if task_class is None:
        return backbone

    fresh = load_weights == "backbone" or changes_head(task_config, theirs)
    if "peft" in ours:
        # The head that was saved reads what the saved method gave it.
        fresh = True
        task_config.pop("pooling", None)
    task = task_class(backbone, **{**task_config, **theirs})
    if load_weights and not fresh:
        task.load_task_weights(_existing(directory, [TASK_WEIGHTS]))
        task.contract = _contract(directory)
    elif load_weights is True:
        logging.warning("%s: the head starts fresh.", directory)
    return task


def _contract(directory):
    """What the model was trained on, if the directory says so."""
    path = directory / CONTRACT
    known = preset_folder.read_json(path) if path.is_file() else None
    return Contract.from_dict(known)


def _check(directory, load_weights):
    names = [BACKBONE_CONFIG, TASK_CONFIG, CONTRACT]
    if load_weights:
        shards = sorted(path.name for path in directory.glob("*.weights*.h5"))
        names += [*BACKBONE_WEIGHTS[1:], *shards]
    if not preset_folder.check(directory, names):
        logging.warning(
            "%s has no checksums: whether it is whole is not known.", directory
        )


def _check_size(directory, config):
    """Refuses a config that asks for more memory than its weights fill."""
    widths = _numbers(config, "dims", "dim")
    depths = _numbers(config, "depths", "depth")
    # The matrices of a transformer's blocks, and of the patch encoder.
    least = sum(12 * w * w * d for w, d in zip(widths, depths))
    inner = _numbers(config, "encoder_dims")
    least += sum(a * b for a, b in zip(inner, inner[1:]))
    size = sum(path.stat().st_size for path in directory.glob("*.h5"))
    if size and least > size:  # a parameter has two bytes at least
        raise ValueError(
            f"{directory / BACKBONE_CONFIG} describes a model of {least:,} "
            f"parameters or more, which its weights are too small for. "
            f"Received: {size:,} bytes of weights"
        )


def _numbers(config, *names):
    """Positive ints under the first name that is there, nested or not."""
    value = next((config[name] for name in names if name in config), ())
    found, todo = [], [value]
    while todo:
        value = todo.pop(0)
        if isinstance(value, (list, tuple)):
            todo = [*value, *todo]
        elif isinstance(value, int) and value > 0:
            found.append(value)
    return found


def _existing(directory, names):
    for name in names:
        if (directory / name).is_file():
            return str(directory / name)
    raise WeightsNotFound(
        f"The preset directory has no weights ({' or '.join(names)}); "
        "`load_weights=False` builds it with random ones. "
        f"Received: {str(directory)!r}"
    )


def _read(directory, name):
    """Class and constructor arguments from one of a preset's files."""
    from keras_pointpeft.models import PointBackbone
    from keras_pointpeft.models.tasks.task import PointTask

    path = directory / name
    if not path.is_file():
        raise ValueError(
            f"A preset directory, as `save_to_preset` writes it, has a "
            f"{name}. Received: {str(directory)!r}"
        )
    saved = preset_folder.read_json(path)
    registered = str(saved.get("registered_name"))
    cls = keras.saving.get_registered_object(registered)
    base = PointBackbone if name == BACKBONE_CONFIG else PointTask
    if cls is None or not issubclass(cls, base):
        raise ValueError(
            f"{path} is not of a {base.__name__} that is known here; one of "
            "another package must be imported first. "
            f"Received: registered_name={registered!r}"
        )
    if not isinstance(saved.get("config"), dict):
        raise ValueError(
            f"{path} must hold the arguments of a {cls.__name__}. "
            f"Received: config={saved.get('config')!r}"
        )
    config = cls.translated(saved["config"])
    known = {"name", "trainable", "dtype", "backbone", "preprocessor"}
    known.update(constructor_arguments(cls))
    unknown = sorted(set(config) - known)
    if unknown:
        raise ValueError(
            f"{path} has arguments that a {cls.__name__} does not take. "
            f"Received: {unknown}"
        )
    return cls, config
