"""Makes the checkpoints of backbones outside of this package known."""

from keras_pointpeft.checkpoints import layouts  # noqa: F401 (registers)
from keras_pointpeft.checkpoints.layouts import registry
from keras_pointpeft.checkpoints.names import NameMap


def add_layout(backbone, names, kinds=(), prefix=""):
    """Makes the published checkpoints of another backbone known.

    They can then be loaded, converted, told apart from others, and written.

    Args:
        backbone: string, the name of the backbone's class.
        names: `NameMap` of its variables, or a function of the backbone that
            returns one. The head's names are known: `cls_head_finetune`, and
            the number of the layer.
        kinds: tuple of `Source`s, the kinds of files that there are. They
            are tried before those that are known already.
        prefix: string that stands before the backbone's names in a
            pre-trained file.

    Raises:
        ValueError: if the backbone's layout is known already.

    Example:
    ```python
    from keras_pointpeft import checkpoints

    checkpoints.add_layout(
        "MyBackbone",
        checkpoints.NameMap({"block_{i}/fc1": "layers.{i}.mlp.0"}),
        (
            checkpoints.Source(
                "Mine, fine-tuned",
                ("MyBackbone",),
                (r"^layers\\.0\\.mlp\\.",),
                pretrained=False,
            ),
        ),
    )
    ```
    """
    if backbone in registry.BACKBONES:
        raise ValueError(
            "The layout of this backbone is known already. "
            f"Received: backbone={backbone!r}"
        )
    make = (lambda _: names) if isinstance(names, NameMap) else names
    registry.register_backbone(
        backbone, lambda model: registry.Layout(make(model)), prefix=prefix
    )
    registry.SOURCES[:0] = kinds
