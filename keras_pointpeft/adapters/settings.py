"""What a model computes beside its weights: settings that must agree."""

import inspect
import json
import re

import keras
from absl import logging

from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import python_number

# How `adapter.json` names what fine-tuning without a method is.
NO_METHOD = "Full"


def described(model):
    """What a file of weights says of the model that they belong to.

    Args:
        model: a backbone, or a model with a `backbone`.

    Raises:
        ValueError: if the method was changed after the model was built.
    """
    task, backbone = _parts(model)
    check_as_built(backbone)
    found = {
        "backbone": type(backbone).__name__,
        "backbone_config": _values(backbone),
        "peft": keras.saving.serialize_keras_object(backbone.peft),
    }
    if task is not None:
        found.update(task=type(task).__name__, task_config=_values(task))
    return found


def differences(model, config, whole=False):
    """Settings that weights were trained with and a model has otherwise.

    Only those that change what is computed in inference: a class says by
    `training_only` which do not. What an adapter of an earlier version does
    not have is what was the only way then, the constructor's default.

    Args:
        model: a backbone, or a model with a `backbone`.
        config: dict, as `described` gives it.
        whole: bool. Whether the weights are all that there are, and no
            adapter: then a method that adds nothing is as good as none.

    Returns:
        A list of strings, one for each.
    """
    task, backbone = _parts(model)
    peft, saved = backbone.peft, config["peft"]
    whose = "the saved model" if whole else "the adapter"
    if whole and getattr(peft, "adds_nothing", False):
        peft = None
    if whole and saved is not None:
        name = saved.get("registered_name")
        known = keras.saving.get_registered_object(name)
        saved = None if getattr(known, "adds_nothing", False) else saved
    saved = saved or {"class_name": NO_METHOD, "config": {}}
    method = NO_METHOD if peft is None else type(peft).__name__
    found = _other_class(whose, "backbone", backbone, config["backbone"])
    if peft is not None or saved["class_name"] != NO_METHOD:
        name = saved["class_name"]
        found += _other_class(whose, "peft", peft, name, method)
    if found:
        return found
    parts = {
        "peft": (peft, saved["config"]),
        "backbone": (backbone, config.get("backbone_config")),
        "task": (task, config.get("task_config")),
    }
    for part, (owner, values) in parts.items():
        found += _other_values(whose, part, owner, values)
    return found


def _parts(model):
    """A task, if it is one, and its backbone."""
    backbone = getattr(model, "backbone", None)
    return (None, model) if backbone is None else (model, backbone)


def _values(owner):
    return {name: getattr(owner, name) for name in owner.config_names}


def settings_of(task):
    """All settings, those of training too: `{"peft.rank": 8, ...}`.

    Args:
        task: a model, with or without a `backbone`.
    """
    backbone = getattr(task, "backbone", None)
    peft = getattr(backbone, "peft", None)
    owners = {"task": task, "backbone": backbone, "peft": peft}
    return {
        f"{part}.{name}": value
        for part, owner in owners.items()
        for name, value in own_settings(owner, training=True).items()
    }


def own_settings(owner, training=False):
    """What `differences` looks at of a method, a backbone or a task.

    With `training`, also what a model in inference knows nothing of.
    """
    if not isinstance(owner, Configurable):
        return {}
    if isinstance(owner, keras.Layer):
        config = _values(owner)  # without what Keras adds
    else:
        config = owner.get_config()
    return {
        name: _plain(value)
        for name, value in config.items()
        if training or name not in owner.training_only
    }


def check_as_built(backbone):
    """Raises ValueError if somebody has changed a method that is built in.

    Its layers go on as they were made, and a file would say something else.
    """
    peft, before = backbone.peft, backbone._method_as_built
    for name, value in own_settings(peft).items():
        if name not in before or value != before[name]:
            raise ValueError(
                f"`backbone.peft.{name}` was changed after the model had been "
                f"built with {before.get(name)!r}, which changes no layer. "
                "Take `model.clone(peft=...)` with a method of its own. "
                f"Received: {name}={value!r}"
            )


def tell_unknown(path, config):
    """Says what an adapter of an earlier version does not know."""
    if "backbone_config" not in config:
        logging.warning(
            "The adapter in %s does not know the settings of its backbone, "
            "such as num_groups and group_size: those of this model are taken.",
            path,
        )


def _other_class(whose, name, found, saved, own=None):
    names = [own] if own else []
    names += [base.__name__ for base in type(found).__mro__]
    if saved in names:
        return []
    return [f"{name}: {whose} has {saved}, this model {names[0]}"]


def _other_values(whose, part, owner, saved):
    if owner is None or saved is None:
        return []
    cls = type(owner)
    saved = {**_defaults(cls), **cls.translated(saved)}
    saved = {name: _plain(value) for name, value in saved.items()}
    found = own_settings(owner)
    then, now = cls.effective(saved), cls.effective(found)
    return [
        f"{part}.{name}: {whose} was trained with {saved[name]!r}, "
        f"this model has {value!r}"
        for name, value in found.items()
        if name in saved
        and not _same(saved[name], value)
        and not _same(then[name], now[name])
    ]


def _defaults(cls):
    """Values of arguments that an adapter may not have; None says nothing."""
    parameters = inspect.signature(cls.__init__).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.default not in (parameter.empty, None)
    }


def _same(saved, found):
    """Whether two values compute the same; names, as of sites, are a set."""
    both = (saved, found)
    if all(isinstance(value, list) for value in both):
        if all(isinstance(name, str) for name in saved + found):
            return set(saved) == set(found)
    return saved == found


def _plain(value):
    """A value as JSON has it, where tuples are lists."""
    return json.loads(json.dumps(value, default=number_or_text))


def number_or_text(value):
    """What JSON has for a value that it does not know."""
    try:
        return python_number(value)
    except TypeError:
        # Where an object lies is no part of what it is.
        return re.sub(" at 0x[0-9a-f]+", "", str(value))
