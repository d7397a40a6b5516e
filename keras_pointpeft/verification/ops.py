"""Compares the functions over point sets with recorded reference results."""

import json
import pathlib

import keras
import numpy as np
from keras import ops

from keras_pointpeft.ops import ball_query
from keras_pointpeft.ops import farthest_point_sample
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import interpolate
from keras_pointpeft.ops import knn
from keras_pointpeft.ops import squared_distances
from keras_pointpeft.ops.chamfer import chamfer_distance
from keras_pointpeft.peft.most.monarch import MonarchLinear
from keras_pointpeft.verification.gradients import value_and_gradients

VALUES, GRADIENTS = 2e-5, 1e-3


def verify_ops_case(case_dir) -> list[tuple[str, float, float]]:
    """Compares one function with the results of a reference case.

    Args:
        case_dir: path of a directory with `manifest.json` and `data.npz`,
            named after one of `OPS_CASES`.

    Returns:
        A list of `(what, largest difference, tolerance)`. Indices must be
        equal; values differ absolutely, or relatively above 1; gradients
        relatively to the largest.

    Raises:
        ValueError: no such case is known.
    """
    case_dir = pathlib.Path(case_dir)
    known = [n for n in OPS_CASES if case_dir.name.startswith(n)]
    if not known:
        raise ValueError(
            f"Known cases: {sorted(OPS_CASES)}. Received: {case_dir.name}"
        )
    manifest = json.loads((case_dir / "manifest.json").read_text())
    with np.load(case_dir / "data.npz") as archive:
        data = {name: archive[name] for name in archive.files}
    return list(OPS_CASES[max(known, key=len)](data, manifest))


def _fps(data, manifest):
    for name in ("a", "b", "c", "d"):
        points, expected = data[f"{name}_points"], data[f"{name}_idx"]
        for ties in ("lowest", "published"):
            index = farthest_point_sample(
                points, expected.shape[1], skip_origin=True, ties=ties
            )
            yield _equal(f"{name}, {ties} ties", index, expected)
    for name in ("tie_small", "tie_large"):
        expected = data[f"{name}_idx"]
        index = farthest_point_sample(
            data[f"{name}_points"], expected.shape[1], ties="published"
        )
        yield _equal(name, index, expected)


def _fps_quirk(data, manifest):
    for name in ("a", "exhausted", "all_inside"):
        expected = data[f"{name}_idx"]
        index = farthest_point_sample(
            data[f"{name}_points"],
            expected.shape[1],
            skip_origin=True,
            ties="published",
        )
        yield _equal(name, index, expected)
    expected = data["a_idx_without_skip"]
    index = farthest_point_sample(data["a_points"], expected.shape[1])
    yield _equal("a without skip", index, expected)


def _knn(data, manifest):
    for prefix in ("", "tie_"):
        query, ref = data[f"{prefix}query"], data[f"{prefix}ref"]
        expected = data[f"{prefix}idx"]
        index = knn(query, ref, expected.shape[2])
        yield _equal(f"{prefix}idx", index, expected)
        distance = _distances(query, ref, index)
        yield _close(f"{prefix}dist", distance, data[f"{prefix}dist"])


def _ball_query(data, manifest):
    radius, k = manifest["radius"], manifest["nsample"]
    index = ball_query(data["new_xyz"], data["xyz"], radius, k)
    yield _equal("idx", index, data["idx"])


def _three_nn(data, manifest):
    unknown, known = data["unknown"], data["known"]
    index = knn(unknown, known, 3)
    yield _equal("idx", index, data["idx"])
    yield _close("dist", _distances(unknown, known, index), data["dist"])
    features = data["features"].transpose(0, 2, 1)
    out = interpolate(unknown, known, features, k=3, power=1)
    yield _close("out", out, data["out"].transpose(0, 2, 1))


def _propagate(data, manifest):
    near, far = data["xyz1"], data["xyz2_far"]
    coarse, values = data["xyz2"], data["points2"]
    tokens = ops.convert_to_tensor(data["points1"])
    subset = data["subset"]
    squared = squared_distances(near, coarse)
    yield _close("square_distance", squared, data["square_distance64"])
    interpolated = interpolate(near, far, values, k=3)
    yield _close("interp3", interpolated, data["interp3_64"])

    def propagate(xyz):
        spread = interpolate(xyz, ops.take(xyz, subset, 1), values, k=None)
        return tokens + 0.3 * spread

    propagated = propagate(ops.convert_to_tensor(near))
    yield _close("propagate_all", propagated, data["propagate_all64"])
    (gradient,) = _gradients(lambda x: ops.sum(propagate(x) * tokens), near)
    yield _close_gradient("dsum_dxyz1", gradient, data["dsum_dxyz1_64"])


def _chamfer(data, manifest):
    a, b = data["a"], data["b"]
    for norm in ("l1", "l2"):
        loss = chamfer_distance(a, b, norm)
        yield _close(norm, loss, data[f"{norm}_64"])
        gradients = _gradients(lambda *x: chamfer_distance(*x, norm), a, b)
        for side, gradient in zip("ab", gradients):
            name = f"grad_{norm}_{side}"
            yield _close_gradient(name, gradient, data[name])
        # Recorded with the kernel's option to leave out padding.
        kept = [_without_zeros(data[f"zeros_{side}"]) for side in "ab"]
        loss = chamfer_distance(*kept, norm)
        yield _close(f"zeros_{norm}", loss, data[f"zeros_{norm}"])
    for name, ours, theirs in (("1", a, b), ("2", b, a)):
        index = knn(ours, theirs, 1)
        yield _equal(f"idx{name}", index[..., 0], data[f"idx{name}"])
        squared = _distances(ours, theirs, index)[..., 0] ** 2
        yield _close(f"dist{name}", squared, data[f"dist{name}"])


def _monarch(data, manifest):
    for i, shape in enumerate(manifest["variants"]):
        x = data[f"x_{i}"]
        layer = MonarchLinear(shape["out"], shape["nblocks"])
        layer.build(x.shape)
        for ours, theirs in (
            (layer.factor1, "blkdiag1"),
            (layer.factor2, "blkdiag2"),
            (layer.bias, "bias"),
        ):
            ours.assign(data[f"{theirs}_{i}"])
        yield _close(f"{i}", layer(x), data[f"y64_{i}"])
        dense = x @ data[f"dense_{i}"].T + data[f"bias_{i}"]
        yield _close(f"{i}, dense", layer(x), dense)


OPS_CASES = {
    "ops_fps": _fps,
    "ops_fps_quirk": _fps_quirk,
    "ops_knn": _knn,
    "ops_ball_query": _ball_query,
    "ops_three_nn_interpolate": _three_nn,
    "ops_propagate": _propagate,
    "ops_chamfer": _chamfer,
    "ops_monarch": _monarch,
}


def _without_zeros(points):
    return points[points.sum(axis=-1) != 0][None]


def _distances(queries, points, index):
    queries = ops.convert_to_tensor(queries)
    difference = queries[:, :, None] - gather(points, index)
    return ops.sqrt(ops.sum(ops.square(difference), axis=-1))


def _equal(what, ours, theirs):
    ours = ops.convert_to_numpy(ours).astype("int64")
    return what, _largest(ours, theirs, 0.0), 0.0


def _close(what, ours, theirs):
    ours = ops.convert_to_numpy(ours).astype("float64")
    return what, _largest(ours, theirs, np.maximum(np.abs(theirs), 1)), VALUES


def _close_gradient(what, ours, theirs):
    return what, _largest(ours, theirs, np.abs(theirs).max()), GRADIENTS


def _largest(ours, theirs, scale):
    if ours.shape != theirs.shape:
        return float("inf")
    difference = np.abs(ours - theirs.astype(ours.dtype))
    if np.any(scale):
        difference = difference / scale
    return float(np.max(difference))


class _Arrays(keras.Model):
    """Holds arrays as weights, so that gradients with them can be asked."""

    def __init__(self, arrays):
        super().__init__()
        self.arrays = [
            self.add_weight(
                shape=array.shape,
                initializer=lambda shape, dtype=None, a=array: (
                    ops.convert_to_tensor(a, dtype)
                ),
                name=f"array_{i}",
            )
            for i, array in enumerate(arrays)
        ]
        self.built = True

    def call(self, unused, training=False):
        return tuple(ops.convert_to_tensor(a) for a in self.arrays)


def _gradients(function, *arrays):
    model = _Arrays(arrays)
    unused = ops.zeros((1,))
    _, found = value_and_gradients(model, lambda call: function(*call(unused)))
    return [found[variable.path] for variable in model.arrays]
