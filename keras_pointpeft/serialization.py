"""Registration and configs of everything that is saved."""

import inspect
import operator

import keras
import numpy as np

from keras_pointpeft.pieces import Piece

serializable = keras.saving.register_keras_serializable("keras_pointpeft")
# Arguments that a config has under another form, or that Keras adds itself.
NOT_OWN = {"self", "backbone", "peft", "shared", "dtype", "name"}


def positive_integer(name, value) -> int:
    """A number of things, from Python or NumPy, as a Python integer.

    Args:
        name: string, the argument's, for the message.
        value: what was given.

    Raises:
        ValueError: this is no integer above 0.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )
    return number


def positive_integers(name, values) -> tuple:
    """At least one number of things, likewise; see `positive_integer`."""
    found = tuple(positive_integer(name, value) for value in values)
    if not found:
        raise ValueError(
            f"`{name}` must have at least one entry. Received: {name}=()"
        )
    return found


def whole_number(name, value) -> int:
    """Like `positive_integer`, but 0 is one, too."""
    if isinstance(value, bool) or value != 0:
        return positive_integer(name, value)
    return 0


def python_number(value):
    """The `default` of `json.dumps` for numbers of NumPy.

    Raises:
        TypeError: this is none.
    """
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


class Configurable(Piece):
    """Writes `get_config` from one list of constructor arguments.

    A class keeps each of its arguments under an attribute of the same name.
    Which they are is read from the constructor, so that a config cannot drift
    from it, or said by `config_names`, if a class has that. A subclass whose
    constructor hands `**kwargs` on has those of its base, too; one with a
    `get_config` of its own adds to it by itself. Mix it in before a Keras
    class, or use it alone.

    `training_only` names those that a model in inference knows nothing of,
    such as rates of dropout: an adapter may be loaded into a model that has
    them otherwise.

    Configs of earlier versions are read: `renamed` says what arguments were
    called, `{old: new}`, and `removed` which value those had that are none
    any more, `{name: value}`.
    """

    config_names = ()
    training_only = ()
    renamed = {}
    removed = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "__init__" not in own or "config_names" in own:
            return
        if cls.config_names and "get_config" in own:
            return
        parameters = inspect.signature(cls.__init__).parameters.values()
        hands_on = any(x.kind == x.VAR_KEYWORD for x in parameters)
        names = [*(cls.config_names if hands_on else ())]
        names += [
            x.name
            for x in parameters
            if x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)
            and x.name not in (*NOT_OWN, *names)
        ]
        cls.config_names = tuple(names)

    def get_config(self):
        if "_piece_of" in vars(self):
            return super().get_config()
        parent = getattr(super(), "get_config", dict)()
        own = {name: getattr(self, name) for name in self.config_names}
        for name, value in own.items():
            if isinstance(value, np.generic):  # a number of an array
                own[name] = value.item()
        return {**parent, **own}

    @classmethod
    def from_config(cls, config):
        if "piece_of" not in config:
            config = cls.translated(config)
        return super().from_config(config)

    @classmethod
    def effective(cls, config):
        """A config with one value for all that compute the same.

        Such as None where a setting has no effect beside the others. By
        default the config as it is; arguments may be missing.
        """
        return config

    @classmethod
    def translated(cls, config):
        """A config of an earlier version, with the arguments of this one.

        Raises:
            ValueError: if an argument that is none any more had another value
                than the one that is left.
        """
        config = dict(config)
        for base in cls.__mro__:
            for old, new in vars(base).get("renamed", {}).items():
                if old in config:
                    config[new] = config.pop(old)
            for name, value in vars(base).get("removed", {}).items():
                if config.pop(name, value) != value:
                    raise ValueError(
                        f"A {cls.__name__} of this version has "
                        f"{name}={value!r} alone. Received: a config of "
                        "another version with another value"
                    )
        return config
