"""Builds the models of built-in presets, with random weights."""

from keras_pointpeft.arguments import split_arguments


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
    from keras_pointpeft import peft

    backbone_class, task_class = classes_of(description)
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


def classes_of(description):
    """The classes of a preset's backbone and task, or None for no task."""
    from keras_pointpeft import models

    backbone_class = find_class(description.backbone_class, models)
    if description.task_class is None:
        return backbone_class, None
    return backbone_class, getattr(models, description.task_class)


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
