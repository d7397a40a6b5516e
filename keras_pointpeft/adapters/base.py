"""The base under an adapter, by itself.

What a method has changed of it is remembered in `peft.freezing`.
"""

import contextlib

from keras_pointpeft.peft.freezing import base_values
from keras_pointpeft.peft.freezing import changed_variables
from keras_pointpeft.peft.freezing import set_base


def remember_base(task):
    """Says that what a task's backbone has now is the base's own.

    Only needed where weights came in past this library, by `set_weights`
    or by hand, and were those of a backbone that no method has trained. What
    is known already stays.

    Args:
        task: a task with a `backbone`.
    """
    if base_values(task.backbone) is None:
        set_base(task.backbone)


@contextlib.contextmanager
def disable_adapters(task):
    """Gives the base under an adapter, for as long as it is needed.

    Its outputs are, bit for bit, those of the backbone before a method joined
    it. It is a backbone of its own, beside the tuned one: for as long as it
    is kept, the base is in memory twice. The head belongs to the adapter, so
    it is the backbone alone.

    Args:
        task: a task with a `backbone`.

    Raises:
        ValueError: if the method changed all of the backbone, or the weights
            came from a file that does not say what it changed.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    with keras_pointpeft.adapters.disable_adapters(model) as base:
        tokens = base(points)["patch_tokens"]
    ```
    """
    backbone, peft = task.backbone, task.backbone.peft
    if peft is not None and peft.replaces_base:
        raise ValueError(
            f"{type(peft).__name__} changes the backbone itself, so its base "
            "is not there any more; load it again. "
            f"Received: peft={type(peft).__name__}"
        )
    if base_values(backbone) is None:
        raise ValueError(
            "The weights came from where nobody says what the base's own "
            f"were, of {sorted(changed_variables(backbone))}; load the base "
            "by itself, with `peft=None`. Before training, "
            "`adapters.remember_base` says that they are the base's. "
            f"Received: peft={type(peft).__name__}"
        )
    yield backbone.clone(peft=None)
