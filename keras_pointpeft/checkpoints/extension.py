"""Makes the checkpoints of backbones outside of this package known."""

from keras_pointpeft.checkpoints import sources
from keras_pointpeft.checkpoints import writer
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
        checkpoints.NameMap({r"block_(\\d+)/fc1": r"layers.\\1.mlp.0"}, {}),
        (
            checkpoints.Source(
                "Mine, classifier",
                ("MyBackbone",),
                (r"^layers\\.0\\.mlp\\.",),
                pretrained=False,
            ),
        ),
    )
    ```
    """
    if backbone in registry.TRUNKS:
        raise ValueError(
            "The layout of this backbone is known already. "
            f"Received: backbone={backbone!r}"
        )
    fixed = isinstance(names, NameMap)
    registry.TRUNKS[backbone] = (lambda _: names) if fixed else names
    writer.PREFIXES[backbone] = prefix
    sources.SOURCES[:0] = kinds
