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


def changes_head(config, kwargs):
    """Whether keyword arguments ask for a head of another shape."""
    return any(
        name in kwargs and kwargs[name] != config.get(name)
        for name in HEAD_ARGUMENTS
    )
