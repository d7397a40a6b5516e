"""Which keyword arguments belong to a backbone, and which to a task."""

import inspect

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

# Arguments of constructors that are parts of the model at hand.
PARTS = (
    "self",
    "backbone",
    "inputs",
    "outputs",
    "preprocessor",
    "trunk",
)


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
    check_arguments(kwargs, backbone_class, task_class)
    theirs = constructor_arguments(task_class)
    to_task = {k: v for k, v in kwargs.items() if k in theirs}
    return {k: v for k, v in kwargs.items() if k not in theirs}, to_task


def check_arguments(kwargs, *classes):
    """Raises TypeError for arguments that none of some classes takes."""
    taken = {
        cls.__name__: constructor_arguments(cls)
        for cls in classes
        if cls is not None
    }
    unknown = sorted(set(kwargs).difference(*taken.values()))
    if unknown:
        accepted = "; ".join(
            f"{name} takes {', '.join(names)}" for name, names in taken.items()
        )
        raise TypeError(f"Unknown arguments. {accepted}. Received: {unknown}")


def constructor_arguments(cls):
    """Names of what a class's constructor takes.

    With what it passes on to its bases, up to Keras' own, and without the
    parts of a model that only its constructor has.
    """
    names = []
    for base in getattr(cls, "__mro__", ()):
        if base.__module__.partition(".")[0] in ("keras", "keras_hub"):
            break
        if "__init__" not in vars(base):
            continue
        found = inspect.getfullargspec(base.__init__)
        names += [*found.args, *found.kwonlyargs]
        if found.varkw is None:
            break
    names = [name for name in dict.fromkeys(names) if name not in PARTS]
    return names if cls is None or "name" in names else [*names, "name"]


def changes_head(config, kwargs):
    """Whether keyword arguments ask for a head of another shape."""
    return any(
        name in kwargs and kwargs[name] != config.get(name)
        for name in HEAD_ARGUMENTS
    )
