"""What the blocks of a backbone do with a cloud, patch by patch."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_pointpeft.models.watching import BlockReader
from keras_pointpeft.ops import knn
from keras_pointpeft.training.live_parts import live_shares


@dataclass(frozen=True, eq=False)
class BlockView:
    """What one block does with some clouds.

    Attributes:
        name: string, the block's.
        attention: array `(clouds, groups)`: how much attention each patch
            gets, summed to 1 over all tokens, mean over heads.
        scale: optional array `(clouds, groups)`: the number that the method
            gives each token, such as DAPT's dynamic scale.
    """

    name: str
    attention: np.ndarray
    scale: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Inspection:
    """What the blocks do with some clouds.

    Attributes:
        centers: array `(clouds, groups, 3)`, of the patches.
        blocks: list of `BlockView`.
        looks: string, who pays the attention: `"the class token"`, or
            `"all patches"` if the backbone has none that sees the cloud.
        shares: dict, what the method's parts let through in all blocks, see
            `keras_pointpeft.training.live_shares`.
    """

    centers: np.ndarray
    blocks: list
    looks: str
    shares: dict


def inspect(backbone, points) -> Inspection:
    """Runs a backbone and looks into its blocks.

    Of a hierarchical backbone, into those of its last stage.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.
        points: array `(clouds, points, 3)`. A few: the attention of all heads
            is computed at once.

    Returns:
        An `Inspection`.

    Example:
    ```python
    from keras_pointpeft.reports import inspection

    seen = inspection.inspect(model.backbone, points)
    seen.blocks[0].attention  # (clouds, groups)
    ```
    """
    reader = BlockReader(backbone)
    centers, found = reader(points)
    shares = live_shares(found)
    last = int(np.atleast_1d(backbone.num_groups)[-1])
    if isinstance(backbone.num_groups, tuple):
        stage = len(backbone.num_groups) - 1
        names = {f"block_{i}" for i in backbone.blocks_of(stage)}
        found = {name: seen for name, seen in found.items() if name in names}
    blocks, looks = [], "the class token"
    for name, seen in found.items():
        block = reader.blocks[name]
        attention, looks = _attention(block, backbone.num_class_tokens, seen)
        scale = seen.get("token_scale")
        if scale is not None:
            scale = _numpy(scale)[:, -last:, 0]
        blocks.append(BlockView(name, attention[:, -last:], scale))
    return Inspection(_numpy(centers), blocks, looks, shares)


def _attention(block, num_class_tokens, seen):
    """How much each token is looked at, `(clouds, keys)`, and by whom."""
    if "contrast_attention" in seen:
        weights = _numpy(seen["contrast_attention"])
        return weights.mean(axis=(1, 2)), "the class token"
    weights = _numpy(seen["attention"]).mean(axis=1)
    if num_class_tokens and not block.causal:
        return weights[:, :num_class_tokens].mean(axis=1), "the class token"
    return weights[:, num_class_tokens:].mean(axis=1), "all patches"


def _numpy(x):
    return np.asarray(ops.convert_to_numpy(ops.stop_gradient(x)), "float32")


def onto_points(points, centers, values, group_size):
    """Values of patches as values of points.

    A point takes the mean over the patches that it is in, or, if it is in
    none, the value of the nearest.

    Args:
        points: array `(clouds, points, 3)`.
        centers: array `(clouds, groups, 3)`.
        values: array `(clouds, groups)`.
        group_size: int. Points per patch.

    Returns:
        float32 array `(clouds, points)`.
    """
    points, centers, values = map(np.float32, (points, centers, values))
    members = ops.convert_to_numpy(knn(centers, points, group_size))
    nearest = ops.convert_to_numpy(knn(points, centers, 1))[..., 0]
    result = np.take_along_axis(values, nearest, axis=1)
    for cloud, index in enumerate(members):
        total = np.zeros(points.shape[1], "float32")
        count = np.zeros(points.shape[1], "int32")
        np.add.at(total, index, values[cloud][:, None])
        np.add.at(count, index, 1)
        inside = count > 0
        result[cloud, inside] = total[inside] / count[inside]
    return result
