"""Registration and configs of everything that is saved."""

import keras

serializable = keras.saving.register_keras_serializable("keras_pointpeft")


class Configurable:
    """Writes `get_config` from one list of constructor arguments.

    A class names its arguments in `config_names` and keeps each under an
    attribute of the same name, so that its config cannot drift from its
    constructor. Mix it in before a Keras class, or use it alone.
    """

    config_names = ()

    def get_config(self):
        parent = getattr(super(), "get_config", dict)()
        own = {name: getattr(self, name) for name in self.config_names}
        return {**parent, **own}
