"""Writes our weights in the layouts that published code reads."""

import re
import tempfile
from pathlib import Path

import h5py
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.layouts.registry import trunk_of
from keras_pointpeft.checkpoints.names import LEAVES
from keras_pointpeft.checkpoints.names import to_reference
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_file
from keras_pointpeft.peft.method import weights_of


def published_state(model, pretrained=False):
    """A model's weights under the names and in the shapes of published code.

    Args:
        model: a `keras_pointpeft.models.PointBackbone`, a task with one, or a
            model that pre-trains one.
        pretrained: bool. Whether to name them as in a pre-trained file, for
            published code to start fine-tuning from.

    Returns:
        dict from name to numpy array.

    Raises:
        CheckpointMismatch: naming all variables without a published
            counterpart.
    """
    layout = layout_of(model)
    if pretrained:
        layout = layout.prefixed(trunk_of(model).prefix)
    state, added, homeless = {}, {}, []
    for path, variable in weights_of(model).items():
        if any(re.search(pattern, path) for pattern in layout.initial):
            continue
        value = ops.convert_to_numpy(variable).astype("float32")
        name = layout.difference(path)
        if name is not None:
            added[name] = value
            continue
        name = layout.names(path)
        if name is None:
            homeless.append(path)
            continue
        shape = _shape(path, value, name, layout)
        state[name] = to_reference(path, value, shape)
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            state[counter] = np.zeros((), "int64")
    if homeless:
        more = f" and {len(homeless) - 8} more" if homeless[8:] else ""
        raise CheckpointMismatch(
            "The published layout has no place for these variables. "
            f"Received: {', '.join(homeless[:8])}{more}",
            homeless,
        )
    for name, value in added.items():
        state[name] = state[name] + value
    for make in layout.extra:
        for name, value in make(model).items():
            state.setdefault(name, np.asarray(value, "float32"))
    return state


def _shape(path, value, name, layout):
    """The shape that a tensor has in published files."""
    shape, leaf = value.shape, path.rpartition("/")[2]
    kernel = leaf == "kernel"
    if leaf in LEAVES and not kernel:
        return shape
    wanted = (n for p, n in layout.axes.items() if re.search(p, name))
    axes = next(wanted, len(shape))
    if kernel:
        return (*shape[::-1], *(1,) * (axes - len(shape)))
    # Published parameters have further axes of length 1 in front.
    return (*(1,) * (axes - len(shape)), *shape[max(0, len(shape) - axes) :])


@telling("writing weights")
def write_checkpoint(model, path, pretrained=False):
    """Writes a model's weights as a file that published code loads.

    Args:
        model: a `keras_pointpeft.models.PointBackbone`, a task with one, or a
            model that pre-trains one.
        path: path of the file, `.pth`.
        pretrained: bool. Whether to name them as in a pre-trained file, for
            published code to start fine-tuning from.

    Returns:
        The number of tensors written.

    Example:
    ```python
    keras_pointpeft.checkpoints.write_checkpoint(model, "ckpt-best.pth")
    ```
    """
    import torch

    state = published_state(model, pretrained)
    tensors = {name: torch.from_numpy(value) for name, value in state.items()}
    with whole_file(path) as place:
        torch.save({"base_model": tensors}, place)
    return len(state)


def write_half(model, path):
    """Writes a model's weights as a Keras file in float16, at half the size.

    `model.load_weights` reads it, into variables of any type. A file that was
    there stays if an error comes in between.

    Args:
        model: a built Keras model.
        path: path of the file, which ends with `.weights.h5`.

    Raises:
        ValueError: naming a weight that is too large for float16.

    Example:
    ```python
    from keras_pointpeft import checkpoints

    backbone = keras_pointpeft.from_preset("pointmaetiny_shapes")
    checkpoints.write_half(backbone, "half.weights.h5")
    backbone.load_weights("half.weights.h5")
    ```
    """

    def copy(name, item):
        if isinstance(item, h5py.Group):
            made = target.require_group(name)
        elif item.dtype.kind == "f":
            with np.errstate(over="ignore"):
                half = item[()].astype("float16")
            if not np.isfinite(half).all():
                raise ValueError(
                    "This weight is too large for float16, or not finite. "
                    f"Received: {name}, up to {np.abs(item[()]).max():.3g}"
                )
            made = target.create_dataset(name, data=half)
        else:
            made = target.create_dataset(name, data=item[()])
        made.attrs.update(item.attrs)

    with tempfile.TemporaryDirectory() as folder, whole_file(path) as place:
        full = Path(folder) / "full.weights.h5"
        model.save_weights(full)
        with h5py.File(full) as source, h5py.File(place, "w") as target:
            target.attrs.update(source.attrs)
            source.visititems(copy)
