"""What comes into a task is looked at here, whatever way it comes.

`fit`, `evaluate`, `predict` and their kin take arrays, tensors, dicts, lists,
data sets and generators. All are checked by one `Door`, arrays at once and
what streams in batch by batch.
"""

import contextlib
import copy
import types

import keras
import numpy as np

from keras_pointpeft.data.checks import UNLABELLED
from keras_pointpeft.ops.points import validate_points


class Door:
    """What a task takes.

    Args:
        num_classes: int.
        fewest_points: int, that a cloud must have.
        per_point: bool. Whether every point has a label, rather than every
            cloud.
        num_categories: optional int, of tasks that are told a category.
        channels: int, coordinates and what else each point has.
        largest: float, the largest coordinate that makes sense.
        integer_labels: optional bool. Whether labels are numbers of classes,
            rather than one-hot. Defaults to None: they are not looked at.

    Attributes:
        watch: optional function that is called with the first points that
            come, an array `(clouds, points, channels)`.
    """

    watch = None

    def __init__(
        self,
        num_classes,
        fewest_points=1,
        per_point=False,
        num_categories=None,
        channels=3,
        largest=100.0,
        integer_labels=None,
    ):
        self.num_classes = num_classes
        self.fewest_points = fewest_points
        self.per_point = per_point
        self.num_categories = num_categories
        self.channels = channels
        self.largest = largest
        self.integer_labels = integer_labels
        self.refused = None

    @contextlib.contextmanager
    def telling(self):
        """What was refused within another program's code is told here.

        A `tf.data` pipeline would make a page of it, as its own error.
        """
        try:
            yield
        except Exception as error:
            if self.refused is None or error is self.refused:
                raise
            raise self.refused from error

    def source(self, x, y=None):
        """Checks data in memory, or wraps what yields batches.

        Args:
            x, y: what `fit`, `evaluate` and `predict` take.

        Returns:
            `(x, y)`, of the same kinds.

        Raises:
            ValueError: says what is wrong, and the way on. Of what yields
                batches, as soon as the batch comes.
        """
        if x is None:
            return x, y
        stream = checked_stream(x, self)
        if stream is not None:
            return stream, y
        if not _in_memory(x):
            return x, y
        x = self.inputs(x)
        return x, y if y is None else self.targets(y, _shape_of(x))

    def batch(self, batch):
        """Checks one batch: inputs alone, or with targets and weights."""
        if not isinstance(batch, (tuple, list)):
            return self.inputs(batch)
        if len(batch) == 1:
            return (self.inputs(batch[0]),)
        if len(batch) not in (2, 3):
            return batch
        x = self.inputs(batch[0])
        return (x, self.targets(batch[1], _shape_of(x)), *batch[2:])

    def inputs(self, x):
        """Points, or a dict of points and categories."""
        if self.num_categories is None:
            if isinstance(x, dict):
                return {key: self.points(value) for key, value in x.items()}
            return self.points(x)
        if isinstance(x, (list, tuple)) and len(x) == 2:
            x = dict(zip(("points", "category"), x))
        if not isinstance(x, dict) or set(x) != {"points", "category"}:
            found = sorted(x) if isinstance(x, dict) else type(x).__name__
            raise ValueError(
                'This task takes a dict of "points" and "category", the '
                f"number of each cloud's category. Received: {found}"
            )
        points = self.points(x["points"])
        category = _numbers("The categories", x["category"])
        self._check_range(
            "Categories", _on_host(category), self.num_categories
        )
        if tuple(category.shape)[:1] != tuple(points.shape)[:1]:
            raise ValueError(
                "There must be one category for each cloud. Received: "
                f"{tuple(category.shape)} for points {tuple(points.shape)}"
            )
        return {"points": points, "category": category}

    def points(self, points):
        """One array or tensor `(clouds, points, channels)`."""
        points = _stacked(points)
        self.check_shape(points.shape)
        values = _on_host(points)
        validate_points(values, self.largest)
        if self.watch is not None:
            watch, self.watch = self.watch, None
            watch(values)
        if isinstance(points, np.ndarray) and points.dtype != "float32":
            return points.astype("float32")
        return points

    def check_shape(self, shape):
        """Raises for a shape that this task does not take.

        Args:
            shape: tuple of ints, and of None where a size is not known.
        """
        shape = tuple(shape)
        expected = f"(clouds, points, {self.channels})"
        if len(shape) == 2 and shape[-1] in (self.channels, None):
            raise ValueError(
                f"Points must have the shape {expected}; of one cloud that is "
                f"`points[None]`. Received: {shape}"
            )
        if len(shape) != 3 or shape[-1] not in (self.channels, None):
            raise ValueError(
                f"Points must have the shape {expected}. Received: {shape}"
            )
        if shape[0] == 0:
            raise ValueError(f"There are no clouds. Received: shape {shape}")
        if shape[1] is not None and shape[1] < self.fewest_points:
            raise ValueError(
                f"The patches of this model need {self.fewest_points} points. "
                f"Received: clouds of shape {shape}"
            )

    def check_call(self, x):
        """Looks at the shapes of tensors, as far as they are known.

        This is where a model of another's sees its input. Values that are at
        hand are looked at; those on a device would have to be waited for, and
        in a compiled step they are not there yet.
        """
        points = x.get("points") if isinstance(x, dict) else x
        values = _at_hand(points)
        if values is not None and values.ndim == 3:
            validate_points(values, self.largest)
        shape = tuple(getattr(points, "shape", ()))
        # A trace has symbols where it leaves a size open.
        if shape and all(n is None or type(n) is int for n in shape):
            self.check_shape(shape)

    def targets(self, labels, shape):
        """Labels `(clouds,)` or `(clouds, points)`.

        Args:
            labels: array, tensor or list.
            shape: tuple, of the points.

        Returns:
            The labels; of points, those of `UNLABELLED` as -1.
        """
        if labels is None or self.integer_labels is None:
            return labels
        if isinstance(labels, (list, tuple)):
            labels = np.asarray(labels)
        sizes = tuple(labels.shape)
        expected = tuple(shape)[: 2 if self.per_point else 1]
        if sizes[:1] != expected[:1]:
            raise ValueError(
                "There must be as many labels as clouds. "
                f"Received: labels {sizes} for points {tuple(shape)}"
            )
        if not self.integer_labels:
            return self._one_hot(labels, sizes, expected)
        if sizes == (*expected, self.num_classes) and self.num_classes > 1:
            raise ValueError(
                "Labels must be numbers of classes, not one-hot: pass "
                "`labels.argmax(-1)`, or compile with "
                f"`keras.losses.CategoricalCrossentropy`. Received: {sizes}"
            )
        if sizes not in (expected, (*expected, 1)):
            what = "point" if self.per_point else "cloud"
            raise ValueError(
                f"There must be one label for each {what}, of the shape "
                f"{expected}. Received: {sizes}"
            )
        labels = _numbers("The labels", labels)
        values = _on_host(labels)
        if self.per_point:
            unknown = np.isin(values, UNLABELLED)
            if self.num_classes > 255:
                unknown = values == -1
            self._check_range("Labels", values[~unknown], self.num_classes)
            if unknown.any() and (values == 255).any():
                return np.where(unknown, -1, values.astype("int32"))
            return labels
        self._check_range("Labels", values, self.num_classes)
        return labels

    def _one_hot(self, labels, sizes, expected):
        if sizes != (*expected, self.num_classes):
            raise ValueError(
                "This loss takes one-hot labels of the shape "
                f"{(*expected, self.num_classes)}; numbers of classes need a "
                f"sparse one, the default. Received: {sizes}"
            )
        if not np.isfinite(_on_host(labels).astype("float64")).all():
            raise ValueError("Labels hold NaN. Received: one-hot labels")
        return labels

    def _check_range(self, what, values, count):
        bad = values[(values < 0) | (values >= count)]
        if not bad.size:
            return
        shown = np.unique(bad)[:5].tolist()
        way = ""
        if values.min() == 1 and values.max() == count:
            way = " They seem to count from 1: subtract 1."
        elif what == "Labels" and self.per_point:
            way = " Points without a label have -1 or 255."
        raise ValueError(
            f"{what} must lie between 0 and {count - 1}, for {count} "
            f"classes.{way} Received: {shown} ({bad.size} of {values.size})"
        )


def checked_stream(x, door):
    """A source of batches whose batches go through a `Door`.

    Args:
        x: what `fit` takes: a `keras.utils.PyDataset`, a generator, a torch
            `DataLoader` or a `tf.data.Dataset`.
        door: `Door`.

    Returns:
        A source of the same kind, or None if `x` is none of these.
    """
    if isinstance(x, CheckedDataset):
        return x
    if isinstance(x, keras.utils.PyDataset):
        return CheckedDataset(x, door)
    if isinstance(x, types.GeneratorType):
        return (door.batch(batch) for batch in x)
    if _is_from(x, "torch.utils.data", "DataLoader"):
        loader = copy.copy(x)
        loader.collate_fn = _CheckedCollate(x.collate_fn, door)
        return loader
    if hasattr(x, "element_spec") and hasattr(x, "map"):
        return _checked_tf(x, door)
    return None


class CheckedDataset(keras.utils.PyDataset):
    """A data set whose batches go through a `Door`.

    Args:
        dataset: `keras.utils.PyDataset`.
        door: `Door`.
    """

    def __init__(self, dataset, door):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.door = door

    @property
    def num_batches(self):
        return self.dataset.num_batches

    def __getitem__(self, index):
        return self.door.batch(self.dataset[index])

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


class _CheckedCollate:
    """What a torch `DataLoader` makes a batch with, and the door behind."""

    def __init__(self, collate, door):
        self.collate, self.door = collate, door

    def __call__(self, samples):
        return self.door.batch(self.collate(samples))


def _checked_tf(dataset, door):
    """A `tf.data.Dataset` whose batches are looked at on the host."""
    import tensorflow as tf

    def look(*batch):
        flat = tf.nest.flatten(batch)
        kinds = [tensor.dtype for tensor in flat]
        if len(batch) > 1 and door.integer_labels:
            # Behind the inputs; -1 needs a sign.
            kinds[len(tf.nest.flatten(batch[0]))] = tf.int32

        def check(*values):
            arrays = [value.numpy() for value in values]
            try:
                seen = door.batch(tf.nest.pack_sequence_as(batch, arrays))
            except ValueError as error:
                door.refused = error
                raise
            return [
                tf.cast(value, kind)
                for value, kind in zip(tf.nest.flatten(seen), kinds)
            ]

        seen = tf.py_function(check, flat, kinds)
        for tensor, before in zip(seen, flat):
            tensor.set_shape(before.shape)
        seen = tf.nest.pack_sequence_as(batch, seen)
        return seen if len(seen) > 1 else seen[0]

    return dataset.map(look)


def _is_from(x, module, name):
    return any(
        kind.__module__.startswith(module) and kind.__name__ == name
        for kind in type(x).__mro__
    )


def integer_labels(loss):
    """Whether a loss takes numbers of classes; None if that is not known."""
    known = getattr(loss, "integer_labels", None)
    if known is not None:
        return known
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    name = name or type(loss).__name__
    name = name.replace("_", "").lower()
    return {
        "sparsecategoricalcrossentropy": True,
        "categoricalcrossentropy": False,
        "categoricalfocalcrossentropy": False,
    }.get(name)


def _in_memory(x):
    if isinstance(x, (dict, list, tuple)):
        return True
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _shape_of(x):
    points = x if not isinstance(x, dict) else x.get("points")
    if points is None:
        points = next(iter(x.values()))
    return tuple(points.shape)


def _stacked(points):
    """Lists of clouds as one array; arrays and tensors as they are."""
    if not isinstance(points, (list, tuple)):
        return points if hasattr(points, "shape") else np.asarray(points)
    if len(points) == 1 and len(getattr(points[0], "shape", ())) == 3:
        return points[0]
    clouds = [
        np.asarray(cloud) if isinstance(cloud, list) else _on_host(cloud)
        for cloud in points
    ]
    sizes = sorted({np.shape(cloud) for cloud in clouds})
    if len(sizes) > 1:
        raise ValueError(
            "A list of clouds must have equally many points in each; "
            "`data.sample_points` draws them. Received: clouds of the shapes "
            f"{', '.join(map(str, sizes[:4]))}"
        )
    return np.stack(clouds) if clouds else np.empty((0, 0, 3), "float32")


def _numbers(what, values):
    """Integers, also where they come as floating-point numbers."""
    if isinstance(values, (list, tuple)):
        values = np.asarray(values)
    host = _on_host(values)
    if host.dtype.kind in "iub":
        return values
    if host.dtype.kind != "f":
        raise ValueError(
            f"{what} must be numbers of classes; `class_names.index(name)` is "
            f"the number of a name. Received: {host.ravel()[:3].tolist()}"
        )
    if not np.isfinite(host).all() or (host != np.floor(host)).any():
        raise ValueError(
            f"{what} must be whole numbers, without NaN. Received: "
            f"{host[~(host == np.floor(host))].ravel()[:3].tolist()}"
        )
    return values


def _at_hand(points):
    """The values of what is in memory now, without waiting; else None."""
    if isinstance(points, np.ndarray):
        return points
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        # Not one that is traced, for an export or by a compiler.
        if type(points) is not torch.Tensor or points.device.type != "cpu":
            return None
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return None
        # No operation that is not needed: a step that is kept records all.
        return (points.detach() if points.requires_grad else points).numpy()
    if backend == "tensorflow" and hasattr(points, "numpy"):
        return points.numpy() if "CPU" in points.device else None
    if backend == "jax":
        import jax

        traced = isinstance(points, jax.core.Tracer)
        if isinstance(points, jax.Array) and not traced:
            places = {device.platform for device in points.devices()}
            return np.asarray(points) if places == {"cpu"} else None
    return None


def is_symbolic(inputs):
    """Whether inputs stand for values that will come, as a graph is made."""
    first = keras.tree.flatten(inputs)[0]
    if isinstance(first, np.ndarray):
        return False
    if keras.utils.is_keras_tensor(first):
        return True
    backend = keras.backend.backend()
    if backend == "torch":
        return getattr(first, "is_meta", False)
    if backend == "jax":
        import jax

        return isinstance(first, jax.core.Tracer)
    return not hasattr(first, "numpy")


def _on_host(value):
    if isinstance(value, np.ndarray):
        return value
    return np.asarray(keras.ops.convert_to_numpy(value))
