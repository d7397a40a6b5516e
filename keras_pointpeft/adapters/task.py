"""What a task does with its adapters."""

from keras_pointpeft.adapters.base import disable_adapters
from keras_pointpeft.adapters.files import load_adapter
from keras_pointpeft.adapters.files import save_adapter
from keras_pointpeft.adapters.merge import merge
from keras_pointpeft.adapters.named import AdapterSet
from keras_pointpeft.adapters.summary import summary


class AdapterLife:
    """The part of a task that is about adapters.

    A mixin for a class with a `backbone`, before its Keras base, which has a
    `_put_in_place`.
    """

    # The `AdapterSet` of a task with several adapters.
    _adapters = None

    def __reduce__(self):
        make, arguments = super().__reduce__()
        if self._adapters is None:
            return make, arguments
        # Keras would restore the active adapter alone.
        return _with_adapters, (make, arguments, self._adapters.state())

    @property
    def adapter_names(self):
        """Names of all adapters of this task."""
        return [] if self._adapters is None else self._adapters.names

    @property
    def active_adapter(self):
        """The name of the active adapter, or None if it has no name."""
        return None if self._adapters is None else self._adapters.active

    def add_adapter(self, name, path=None):
        """Adds a named adapter, without making it the active one.

        What is there at the first call becomes the adapter `"default"`. All
        adapters of a task have its method and its head; the backbone is there
        once. It may have tasks with other heads, each with adapters of its
        own: `fit`, `evaluate`, `predict` and what saves put the task's active
        adapter in place, and so does `set_adapter`, which must come before a
        direct call of the task.

        They are not saved with the model, only the active one is; save each
        with `save_adapter`.

        Args:
            name: string.
            path: where it was saved, a directory or `"hf://owner/name"`. By
                default it starts fresh.

        Example:
        ```python
        model.add_adapter("chairs", "runs/chairs/adapter")
        model.set_adapter("chairs")
        ```
        """
        if self._adapters is None:
            # Not by plain assignment: Keras would track it and save it with the
            # model.
            object.__setattr__(self, "_adapters", AdapterSet(self))
        self._adapters.add(name, path)

    def set_adapter(self, name):
        """Makes an adapter the active one, by name; takes milliseconds.

        Training goes on with the optimizer's slots if this adapter was the
        last that was trained, and else starts them anew.
        """
        self._named_adapters().use(name)

    def delete_adapter(self, name):
        """Removes an adapter that is not the active one."""
        self._named_adapters().delete(name)

    def _named_adapters(self):
        if self._adapters is None:
            raise ValueError(
                "This task has no named adapters; `add_adapter` makes some. "
                "Received: no adapters"
            )
        return self._adapters

    def disable_adapters(self):
        """A context with the backbone as it was before its method.

        See `keras_pointpeft.adapters.disable_adapters`.
        """
        self._put_in_place()
        return disable_adapters(self)

    def merge(self, partial=False):
        """A task without the method's additions, and with the same logits.

        See `keras_pointpeft.adapters.merge`.
        """
        self._put_in_place()
        return merge(self, partial)

    def save_adapter(self, path, state=True):
        """Saves what this task has trained, not the frozen backbone.

        See `keras_pointpeft.adapters.save_adapter`.
        """
        self._put_in_place()
        return save_adapter(self, path, state)

    def load_adapter(self, path):
        """Loads an adapter that was trained on the same frozen backbone.

        See `keras_pointpeft.adapters.load_adapter`.
        """
        self._put_in_place()
        return load_adapter(self, path)

    def peft_summary(self, print_fn=print):
        """Reports trainable parameters by component.

        See `keras_pointpeft.adapters.summary`.
        """
        return summary(self, print_fn)


def _with_adapters(make, arguments, state):
    """A task with its named adapters, from what `__reduce__` kept."""
    task = make(*arguments)
    object.__setattr__(task, "_adapters", AdapterSet.restored(task, state))
    return task


def check_here(variables):
    """Raises ValueError if something else has the variables' values.

    Keras does not tell which model that is.
    """
    for variable in variables:
        try:
            if variable.value is not None:
                continue
        except TypeError:  # there is nothing to make a first value by, either
            pass
        raise ValueError(
            "A model around this task trains, or another thread runs it, and "
            "on jax Keras then keeps all variables elsewhere. In a "
            "`keras.callbacks.Callback`, ask for `self.model` first, or call "
            "`jax_state_sync()` of the outer model: either brings them back. "
            "Threads take turns. "
            f"Received: {variable.path} without a value"
        )
