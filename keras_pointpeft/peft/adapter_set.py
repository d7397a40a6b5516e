"""Several named adapters on one backbone, of which one is in place."""

import keras
from keras import ops

from keras_pointpeft.peft import adapters
from keras_pointpeft.peft.adapter_base import base_values
from keras_pointpeft.peft.adapter_base import remember_base


class AdapterSet:
    """The adapters of one task, by name.

    The values of the one in place are those of the task's variables, and
    training changes them; those of the others are kept as arrays. So every
    adapter costs its own size, and the backbone is there once. All have the
    method and the head of the task. A task with another head, such as one for
    other classes, can stand on the same backbone and have a set of its own:
    a task whose adapter is not in place puts it there before it is used.

    Args:
        task: a task with a `backbone`.
        name: string. The name of what is in place now.

    Attributes:
        active: string, the name of the adapter in place.
    """

    def __init__(self, task, name="default"):
        self.task = task
        self.active = name
        self.values = {name: None}
        remember_base(task)
        _claim(task.backbone, self)

    @property
    def names(self):
        """Names of all adapters, in the order in which they were added."""
        return list(self.values)

    def add(self, name, path=None):
        """Adds an adapter without putting it in place.

        Args:
            name: string.
            path: where it was saved, see
                `keras_pointpeft.peft.adapters.load_adapter`. By default it
                starts fresh.
        """
        if name in self.values:
            raise ValueError(
                f"There is an adapter of this name. Received: name={name!r}"
            )
        if path is None:
            self.values[name] = self._fresh()
        else:
            # Statistics and state that a file leaves out are those of now.
            values = self._current()
            values.update(adapters.read_values(self.task, path))
            self.values[name] = values

    def use(self, name):
        """Puts an adapter in place.

        Slots of the optimizer belong to the adapter that was trained, and
        start anew.

        Args:
            name: string.
        """
        self._check(name)
        if name == self.active:
            self.restore()
            return
        self._store()
        self.active = name
        self.restore()
        optimizer = getattr(self.task, "optimizer", None)
        if optimizer is not None and optimizer.built:
            for variable in optimizer.variables:
                if variable.name != "learning_rate":
                    variable.assign(ops.zeros(variable.shape, variable.dtype))

    def delete(self, name):
        """Removes an adapter that is not in place."""
        self._check(name)
        if name == self.active:
            raise ValueError(
                "The adapter in place cannot be deleted; put another one in "
                f"place first. Received: name={name!r}"
            )
        del self.values[name]

    def restore(self):
        """Puts the active adapter's values into the task, if need be."""
        owner = _owner(self.task.backbone)
        if owner is not self and owner is not None:
            owner._store()
        _claim(self.task.backbone, self)
        values, self.values[self.active] = self.values[self.active], None
        if values is None:
            return
        variables, _ = adapters.split_variables(self.task)
        for path, value in values.items():
            variables[path].assign(value)

    def _store(self):
        if self.values[self.active] is None:
            self.values[self.active] = self._current()

    def _current(self):
        variables, _ = adapters.split_variables(self.task)
        # A copy: on jax, training gives the arrays of a model away.
        return {path: v.numpy().copy() for path, v in variables.items()}

    def _fresh(self):
        """What the variables of an untrained adapter are."""
        task = self.task
        config = {name: getattr(task, name) for name in task.config_names}
        backbone = task.backbone
        arguments = {n: getattr(backbone, n) for n in backbone.config_names}
        twin = type(task)(
            type(backbone)(
                **arguments,
                peft=keras.saving.deserialize_keras_object(
                    keras.saving.serialize_keras_object(backbone.peft)
                ),
                dtype=backbone.dtype_policy,
            ),
            **config,
        )
        variables, _ = adapters.split_variables(twin)
        values = {path: v.numpy().copy() for path, v in variables.items()}
        return {**values, **(base_values(backbone) or {})}

    def _check(self, name):
        if name not in self.values:
            raise ValueError(
                f"There is no adapter of this name, only {self.names}. "
                f"Received: name={name!r}"
            )


def _owner(backbone):
    """The `AdapterSet` whose adapter is in place, or None."""
    return getattr(backbone, "_adapter_set", None)


def _claim(backbone, owner):
    # Past Keras, which would take it for a part of the model.
    object.__setattr__(backbone, "_adapter_set", owner)
