"""What a task computes of a cloud that training leaves as it is."""

import keras

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.recompute import is_random_state
from keras_pointpeft.ops.points import PointOperation
from keras_pointpeft.step.running import Stepping


def split(task):
    """Splits a task where training begins to change what is computed.

    Before that there are patches, neighbours and, under a method with a
    frozen encoder, patch tokens; behind it what trains, what is random, and
    all that reads it. Of a cloud that is the same in each epoch, the first
    part need be computed only once.

    Args:
        task: a task, such as `keras_pointpeft.models.PointCloudClassifier`.

    Returns:
        Two `keras.Model`s of the task's own layers: `stem`, from the task's
        inputs to a dict of tensors, floats in float32, and `rest`, from such
        a dict to the task's outputs. `rest` has all variables of the task.

    Raises:
        ValueError: if the first part is empty.

    Example:
    ```python
    stem, rest = split(model)
    kept = stem.predict(points)
    rest.compile("adamw", model.default_loss())
    rest.fit(kept, labels, epochs=10)
    model.save_adapter("my_task")
    ```
    """
    walk = _Walk()
    inputs = keras.tree.map_structure(_fresh, task.input)
    walk.begin(inputs)
    # A plain model of the same graph: cloning the task itself would compile
    # it again.
    outputs = walk.through(keras.Model(task.input, task.output), inputs)
    given = {id(x) for x in keras.tree.flatten(inputs)}
    if all(id(x) in given for x in walk.sources.values()):
        raise ValueError(
            "Training changes all that this task computes of a cloud, so "
            f"that nothing can be kept. Received: {task.name} with "
            f"peft={task.backbone.peft!r}"
        )
    stem = keras.Model(
        inputs, {name: _stored(x) for name, x in walk.sources.items()}
    )
    cuts = {
        name: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=name)
        for name, x in walk.cuts.items()
    }
    behind = keras.Model(list(walk.cuts.values()), outputs)
    rest = Rest(cuts, behind(list(cuts.values())))
    # Some variables belong to layers that only other layers call, so that the
    # graph does not list them.
    rest.task = task
    return stem, rest


class Rest(Stepping, keras.Model):
    """The part of a task that trains, whose steps run as the task's do."""


class _Walk:
    """Goes through a graph again and cuts it.

    Attributes:
        sources: dict of the last tensors that training does not change.
        cuts: dict of what stands for them in the graph behind.
    """

    def __init__(self):
        self.sources, self.cuts = {}, {}
        # For each tensor that training does not change, by its id: the
        # operation and arguments that made it, and all outputs of that
        # operation. Holding these keeps Python from using the id again.
        self._lasting = {}
        # By the same ids, the tensor that replaces it behind the cut.
        self._behind = {}

    def begin(self, inputs):
        for x in keras.tree.flatten(inputs):
            self._lasting[id(x)] = (None, None, [x])

    def through(self, model, inputs):
        return keras.models.clone_model(
            model,
            input_tensors=inputs,
            clone_function=lambda layer: layer,
            call_function=self._call,
        ).output

    def _call(self, operation, *args, **kwargs):
        if isinstance(operation, keras.Model):
            # Only the tensors: Keras passes `training` and `mask` on by itself.
            return self.through(operation, *args)
        given = [
            x
            for x in keras.tree.flatten((args, kwargs))
            if isinstance(x, keras.KerasTensor)
        ]
        if _lasts(operation) and all(id(x) in self._lasting for x in given):
            outputs = operation(*args, **kwargs)
            made = keras.tree.flatten(outputs)
            for x in made:
                self._lasting[id(x)] = (operation, (args, kwargs), made)
            return outputs
        args, kwargs = keras.tree.map_structure(self._cut, (args, kwargs))
        return operation(*args, **kwargs)

    def _cut(self, x):
        """What stands for a tensor behind the cut."""
        if id(x) not in self._lasting:
            return x
        if id(x) not in self._behind:
            operation, given, made = self._lasting[id(x)]
            # Slices and sums are cheaper to compute again than to store beside
            # what they are made of.
            if _is_plain(operation):
                args, kwargs = keras.tree.map_structure(self._cut, given)
                again = keras.tree.flatten(operation(*args, **kwargs))
                self._behind.update(zip(map(id, made), again))
            else:
                name = x.name if operation is None else operation.name
                name = f"{name}_{len(self.cuts)}"
                self.sources[name] = x
                self.cuts[name] = keras.layers.Identity(dtype=x.dtype)(x)
                self._behind[id(x)] = self.cuts[name]
        return self._behind[id(x)]


def _fresh(x):
    return keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name)


def _stored(x):
    """As arrays and files have it; no numpy type is lost in a file."""
    if keras.backend.is_float_dtype(x.dtype):
        return keras.ops.cast(x, "float32")
    return x


def _is_plain(operation):
    """Whether it is one of Keras' own functions of arrays."""
    return operation is not None and not isinstance(
        operation, (keras.layers.Layer, PointOperation)
    )


def _lasts(operation):
    """Whether it gives the same in each epoch, of the same inputs."""
    if not isinstance(operation, keras.layers.Layer):
        return True
    reads = getattr(operation, "reads", operation.variables)
    if any(v.trainable or is_random_state(v) for v in reads):
        return False
    return not any(
        isinstance(layer, BatchNorm) and not layer.frozen_statistics
        for layer in operation._flatten_layers()
    )
