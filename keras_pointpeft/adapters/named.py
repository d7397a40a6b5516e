"""Several named adapters on one backbone, of which one is in place."""

from keras_pointpeft.adapters.files import read_contract
from keras_pointpeft.adapters.files import read_values
from keras_pointpeft.adapters.variables import split_variables
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.peft.freezing import base_values
from keras_pointpeft.peft.freezing import copies
from keras_pointpeft.peft.freezing import note_base


class AdapterSet:
    """The adapters of one task, by name.

    The values of the one in place are those of the task's variables, and
    training changes them; those of the others are kept as arrays. So every
    adapter costs its own size, and the backbone is there once. All have the
    method and the head of the task. A task with another head, such as one for
    other classes, can stand on the same backbone and have a set of its own;
    of all the sets of a backbone, one adapter is in place.

    Args:
        task: a task with a `backbone`.
        name: string. The name of what is in place now.

    Attributes:
        active: string, the name of the adapter that the task works with.
    """

    def __init__(self, task, name="default"):
        self.task = task
        self.active = name
        # The active adapter has None: its values are in the variables.
        self.values = {name: None}
        # What each was trained on.
        self.contracts = {name: task.contract}
        # The adapter that the optimizer has slots of.
        self.trained = name
        # What an adapter consists of.
        self.variables, _ = split_variables(task)
        note_base(task.backbone)
        self._claim()

    @property
    def names(self):
        """Names of all adapters, in the order in which they were added."""
        return list(self.values)

    @property
    def in_place(self):
        """Whether the variables are those of the active adapter."""
        return _owner(self.task.backbone) is self

    def add(self, name, path=None):
        """Adds an adapter without making it the active one.

        Args:
            name: string.
            path: where it was saved, see
                `keras_pointpeft.adapters.load_adapter`. By default it
                starts fresh.
        """
        if name in self.values:
            raise ValueError(
                f"There is an adapter of this name. Received: name={name!r}"
            )
        if path is None:
            self.values[name] = self._fresh()
            self.contracts[name] = Contract()
        else:
            self.restore()
            # State that a file leaves out is that of the active one.
            values = self._current()
            values.update(read_values(self.task, path))
            self.values[name] = values
            self.contracts[name] = read_contract(path)

    def use(self, name):
        """Puts an adapter in place.

        Args:
            name: string.
        """
        self._check(name)
        if name != self.active:
            self._store()
            self.active = name
        self.restore()

    def state(self):
        """All adapters, so that `restored` makes the same set elsewhere."""
        values = dict(self.values)
        if self.in_place:
            values[self.active] = None
        return {
            "values": values,
            "contracts": dict(self.contracts),
            "active": self.active,
            "trained": self.trained,
        }

    @classmethod
    def restored(cls, task, state):
        """The set whose `state` another task has, of which this is a copy."""
        found = cls(task, state["active"])
        found.values = {
            name: values and {path: x.copy() for path, x in values.items()}
            for name, values in state["values"].items()
        }
        found.contracts = dict(state["contracts"])
        found.trained = state["trained"]
        return found

    def delete(self, name):
        """Removes an adapter that is not the active one."""
        self._check(name)
        if name == self.active:
            raise ValueError(
                "The active adapter cannot be deleted; make another one "
                f"active first. Received: name={name!r}"
            )
        del self.values[name]
        del self.contracts[name]
        if name == self.trained:
            self.trained = None

    def restore(self):
        """Puts the active adapter in place, if it is not."""
        self._claim()
        values, self.values[self.active] = self.values[self.active], None
        if values is None:
            return
        for path, value in values.items():
            self.variables[path].assign(value)

    def check_in_place(self):
        """Raises ValueError if another task's adapter is in place."""
        if not self.in_place:
            raise ValueError(
                "The adapter of another task on this backbone is in place; "
                f"`set_adapter({self.active!r})` puts this one there. "
                f"Received: a call of {self.task.name!r}"
            )

    def before_training(self):
        """Starts the optimizer anew if it has trained another adapter."""
        optimizer = getattr(self.task, "optimizer", None)
        other = self.trained != self.active
        self.trained = self.active
        if optimizer is None or not optimizer.built or not other:
            return
        fresh = type(optimizer).from_config(optimizer.get_config())
        fresh.build(self.task.trainable_variables)
        pairs = zip(optimizer.variables, fresh.variables, strict=True)
        for variable, start in pairs:
            variable.assign(start.numpy())

    def _claim(self):
        backbone = self.task.backbone
        owner = _owner(backbone)
        if owner is not self and owner is not None:
            owner._store()
        # Not by plain assignment: Keras would track it as a part of the model.
        object.__setattr__(backbone, "_adapter_set", self)

    def _store(self):
        if self.values[self.active] is None:
            self.values[self.active] = self._current()

    def _current(self):
        return copies(self.variables)

    def _fresh(self):
        """What the variables of an untrained adapter are."""
        backbone = self.task.backbone
        twin = self.task.clone(weights=False, compile=False)
        values = copies(split_variables(twin)[0])
        base = base_values(backbone) or {}
        return {**values, **{path: x.copy() for path, x in base.items()}}

    def _check(self, name):
        if name not in self.values:
            raise ValueError(
                f"There is no adapter of this name, only {self.names}. "
                f"Received: name={name!r}"
            )


def _owner(backbone):
    """The `AdapterSet` whose adapter is in place, or None."""
    return getattr(backbone, "_adapter_set", None)
