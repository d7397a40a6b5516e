"""Writes our weights in the layouts that published code reads."""

import re

import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts.registry import published_names
from keras_pointpeft.checkpoints.names import to_reference
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.files.whole import whole_file
from keras_pointpeft.peft.paths import weights_of

# What stands before the backbone's names in a pre-trained file.
PREFIXES = {
    "ACTBackbone": "ACT_encoder.",
    "PointBERTBackbone": "transformer_q.",
    "PointGPTBackbone": "GPT_Transformer.",
    "PointM2AEBackbone": "",
    "PointMAEBackbone": "MAE_encoder.",
    "ReConBackbone": "MAE_encoder.",
}
POINTWISE = r"\.(first_conv|second_conv)\.|increase_dim\."


def published_state(model, pretrained=False):
    """A model's weights under the names and in the shapes of published code.

    Args:
        model: a `keras_pointpeft.models.PointBackbone`, or a task with one.
        pretrained: bool. Whether to name them as in a pre-trained file, for
            published code to start fine-tuning from.

    Returns:
        dict from name to numpy array.

    Raises:
        CheckpointMismatch: if a variable has no published counterpart.
    """
    backbone = getattr(model, "backbone", model)
    names = published_names(model)
    start = PREFIXES[type(backbone).__name__] if pretrained else ""
    state = {}
    for path, variable in weights_of(model).items():
        name = names(path)
        if name is None:
            raise CheckpointMismatch(
                "The published layout has no place for this variable. "
                f"Received: {path}"
            )
        value = ops.convert_to_numpy(variable).astype("float32")
        shape = value.shape
        if path.endswith("/kernel"):
            pointwise = re.search(POINTWISE, name)
            shape = (*shape[::-1], 1) if pointwise else shape[::-1]
        if name == "blocks.sos":
            shape = shape[-1:]
        state[start + name] = to_reference(path, value, shape)
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            state[start + counter] = np.zeros((), "int64")
    if type(backbone).__name__ == "PointGPTBackbone":
        state |= _unread_by_point_gpt(backbone, start)
    return state


def _unread_by_point_gpt(backbone, start):
    """Tensors that the published model has and does not use."""
    dim, points = backbone.dim, 3 * backbone.group_size
    state = {
        "norm.weight": np.ones(dim),
        "norm.bias": np.zeros(dim),
        "blocks.increase_dim.0.weight": np.zeros((points, dim, 1)),
        "blocks.increase_dim.0.bias": np.zeros(points),
    }
    if backbone.generator_depth:
        state["generator_blocks.sos"] = np.zeros(dim)
    return {start + k: v.astype("float32") for k, v in state.items()}


def write_checkpoint(model, path, pretrained=False):
    """Writes a model's weights as a file that published code loads.

    Args:
        model: a `keras_pointpeft.models.PointBackbone`, or a task with one.
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
