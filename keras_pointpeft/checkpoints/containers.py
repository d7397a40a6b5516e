"""Where in a file of PyTorch the weights stand."""

from absl import logging

from keras_pointpeft.checkpoints.torch_files import NotTensors

# Where training code puts the weights; the first that is there is read.
CONTAINERS = (
    "base_model",
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "module",
    "encoder",
    "ema",
    "model_ema",
    "state_dict_ema",
    "ema_state_dict",
    "shadow",
)


def unwrap(content, container=None):
    """The state dict in a file, and where it stands.

    Args:
        content: what the file holds.
        container: optional string, see `read_checkpoint`.

    Returns:
        dict, and string.

    Raises:
        NotTensors: if there are no weights, naming what is there.
    """
    if container is not None:
        return _named(content, container), container
    where = []
    while isinstance(content, dict):
        if _holds_tensors(content):
            return content, ".".join(where)
        inner = [
            key
            for key in CONTAINERS
            if isinstance(content.get(key), dict) and content[key]
        ]
        if not inner or len(where) > 3:
            break
        if len(inner) > 1:
            logging.info(
                "%s is read; weights may stand under %s too, see `container`.",
                inner[0],
                ", ".join(inner[1:]),
            )
        where.append(inner[0])
        content = content[inner[0]]
    raise NotTensors(
        f"The file holds no weights under {CONTAINERS}, but "
        f"{_described(content)}",
    )


def _named(content, container):
    parts = container.split(".")
    for i, part in enumerate(parts):
        if not isinstance(content, dict) or part not in content:
            raise NotTensors(
                f"The file has nothing at {'.'.join(parts[: i + 1])!r}, but "
                f"{_described(content)}",
            )
        content = content[part]
    if not _holds_tensors(content):
        raise NotTensors(
            f"There are no weights at {container!r}, but {_described(content)}",
        )
    return content


def _holds_tensors(content):
    import torch

    return isinstance(content, dict) and any(
        isinstance(value, torch.Tensor) for value in content.values()
    )


def _described(content):
    if isinstance(content, dict):
        return f"the keys {sorted(map(str, content))[:8]}"
    return f"a {type(content).__name__}"
