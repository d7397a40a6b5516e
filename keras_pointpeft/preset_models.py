"""Builds the models of built-in presets and finds their weights."""

import inspect
import re
import urllib.parse

from absl import logging

from keras_pointpeft import downloads
from keras_pointpeft import zoo_data

# Task arguments that change the head's weights.
HEAD_ARGUMENTS = (
    "num_classes",
    "pooling",
    "head_dims",
    "head_norm",
    "num_categories",
    "blocks",
    "propagation_dims",
)


class WeightsNotFound(FileNotFoundError):
    """A preset has no weights to load."""


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
    ours = {**description.backbone_config, **ours}
    if description.method_class is not None and "peft" not in ours:
        method_class = find_class(description.method_class, peft)
        ours["peft"] = method_class(**description.method_config)
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


def split_arguments(kwargs, backbone_class, task_class=None):
    """Divides keyword arguments into the backbone's and the task's.

    Args:
        kwargs: dict.
        backbone_class: class of the backbone.
        task_class: class of the task, or `None` for a backbone alone.

    Returns:
        Two dicts.

    Raises:
        TypeError: naming the arguments that neither of them takes.
    """
    ours = constructor_arguments(backbone_class)
    theirs = constructor_arguments(task_class)
    unknown = sorted(set(kwargs) - set(ours) - set(theirs))
    if unknown:
        accepted = f"{backbone_class.__name__} takes {', '.join(ours)}"
        if task_class is not None:
            accepted += f"; {task_class.__name__} takes {', '.join(theirs)}"
        raise TypeError(f"Unknown arguments. {accepted}. Received: {unknown}")
    to_task = {k: v for k, v in kwargs.items() if k in theirs}
    return {k: v for k, v in kwargs.items() if k not in theirs}, to_task


def constructor_arguments(cls):
    """Names of what a class's constructor takes, the inner model left out."""
    if cls is None:
        return []
    left_out = ("self", "backbone", "preprocessor")
    parameters = inspect.signature(cls.__init__).parameters.values()
    names = [
        parameter.name
        for parameter in parameters
        if parameter.kind != parameter.VAR_KEYWORD
        and parameter.name not in left_out
    ]
    return names if "name" in names else [*names, "name"]


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
            raise _not_found(description.name)
        load_file(model, description.weights, description.name)
        return model
    own = description.weights is not None and load_weights is True
    if own and "peft" not in kwargs:
        new_head = changes_head(description.task_config, kwargs)
        if not new_head:
            load_file(model, description.weights, description.name)
            return model
        names = constructor_arguments(type(model))
        head = {k: v for k, v in kwargs.items() if k in names}
        rest = {k: v for k, v in kwargs.items() if k not in head}
        tuned = build(description, **rest)
        load_file(tuned, description.weights, description.name)
        copy_weights(tuned.backbone, model.backbone)
        logging.warning(
            "%s: the head has another shape and starts fresh.",
            description.name,
        )
        return model
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


def changes_head(config, kwargs):
    """Whether keyword arguments ask for a head of another shape."""
    return any(
        name in kwargs and kwargs[name] != config.get(name)
        for name in HEAD_ARGUMENTS
    )


def load_pretrained(backbone, description):
    """Loads the pre-trained weights under whatever a method added.

    Args:
        backbone: a backbone, with or without a method.
        description: the `PresetDescription` that it was built from.

    Raises:
        WeightsNotFound: if the backbone has no pre-trained weights.
    """
    entry = zoo_data.read_weights().get(description.pretrained)
    if entry is None:
        raise _not_found(description.pretrained)
    config = {**_config(backbone), "peft": None}
    if "class_token" in config:
        config["class_token"] = True  # as it was pre-trained
    plain = type(backbone)(**config)
    load_file(plain, entry, description.pretrained)
    copy_weights(plain, backbone)


def _config(backbone):
    config = backbone.get_config()
    names = constructor_arguments(type(backbone))
    return {name: config[name] for name in names}


def copy_weights(source, target):
    """Copies all weights of a backbone that another one has too.

    What a method adds lies under `tuner` and is copied only between two
    backbones with the same method; with another method, or none, the target
    gets what the source's base had. A backbone without class token, as some
    segmentation models have it, takes all but that.

    Args:
        source: a backbone.
        target: a backbone of the same class and size.
    """
    from keras_pointpeft.peft import adapter_base

    same = source.get_config()["peft"] == target.get_config()["peft"]
    base = adapter_base.base_values(source)
    targets = {variable.path: variable for variable in target.weights}
    for variable in source.weights:
        path = variable.path
        added = re.search(r"(^|/)tuner[^/]*/", path)
        if "seed_generator" in path or (added and not same):
            continue
        if path.startswith("class_tokens/") and path not in targets:
            continue
        value = variable if same else (base or {}).get(path, variable)
        targets[path].assign(adapter_base.by_value(value))
    if base is None:
        adapter_base.set_base(target, adapter_base.UNKNOWN)
    else:
        adapter_base.set_base(target, base if same else None)


def load_file(model, entry, name):
    """Loads a built-in preset's weights, wherever they are.

    Args:
        model: the model, built.
        entry: dict, what `weights.json` says of the weights.
        name: string, the preset.
    """
    path = find_file(entry)
    logging.info("%s: loading %s", name, path)
    if entry["format"] == "pth":
        from keras_pointpeft import checkpoints

        report = checkpoints.load_into(model, path)
        logging.info("%s: %s", name, report)
    elif entry["format"] == "adapter":
        from keras_pointpeft import presets

        load_pretrained(model.backbone, presets.resolve(name))
        model.load_adapter(path)
    else:
        model.load_weights(path)


def find_file(entry):
    """Returns the path of published weights, downloading them if needed.

    Args:
        entry: dict, what `weights.json` says of the weights.

    Returns:
        `pathlib.Path`.

    Raises:
        WeightsNotFound: if a file that the zoo should ship is not there.
        DownloadError: if a file cannot be downloaded, or is not the right
            one.
    """
    if "browser" in entry:
        raise WeightsNotFound(
            "The authors publish these weights where only a browser gets "
            "them. Download the file, convert it with\n"
            "  python scripts/convert_checkpoint.py --checkpoint=FILE "
            "--output=DIR\nand give `from_preset` the directory. "
            f"Received: {entry['browser']}"
        )
    if "file" in entry:
        paths = [
            folder / "weights" / entry["file"] for folder in zoo_data.folders()
        ]
        path = next((path for path in paths if path.exists()), paths[0])
        if not path.exists():
            raise WeightsNotFound(
                "The zoo's card names weights that this installation does "
                f"not have. Received: {path}"
            )
        _check_shipped(path, entry.get("sha256"))
        return path
    url = entry["url"]
    location = urllib.parse.urlsplit(url).path.lstrip("/")
    cached = downloads.cache_directory() / location
    return downloads.fetch(url, cached, entry.get("sha256"))


def _check_shipped(path, sha256):
    if sha256 and (found := downloads.sha256_of(path)) != sha256:
        raise ValueError(
            f"{path} has been changed since it was published. "
            f"Expected: sha256 {sha256}. Received: {found}"
        )


def _not_found(name):
    published = ", ".join(
        name
        for name, entry in sorted(zoo_data.read_weights().items())
        if "browser" not in entry
    )
    return WeightsNotFound(
        f"No weights are published for {name!r}. Ways on:\n"
        "1) convert a checkpoint (.pth) that you have with "
        "scripts/convert_checkpoint.py, and give `from_preset` the folder\n"
        "2) start from random weights: `load_weights=False`\n"
        f"3) take a preset that has weights: {published}\n"
        f"Received: preset={name!r}"
    )
