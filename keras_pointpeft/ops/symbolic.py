"""Lets the functions of this package stand in a Functional model."""

import functools
import importlib
import inspect

import keras

from keras_pointpeft.serialization import serializable


@serializable
class PointOperation(keras.Operation):
    """One of the package's functions as a node of a Functional model.

    Made by calling the function with a `keras.KerasTensor`; its output shape
    is known without tracing the function.

    Args:
        function: string, `"<module>.<name>"` below `keras_pointpeft.ops`.
        options: dict of the arguments that are not tensors.
    """

    def __init__(self, function, options, name=None):
        super().__init__(name=name)
        self.function = function
        self.options = dict(options)
        module, attribute = function.split(".")
        module = importlib.import_module(f"keras_pointpeft.ops.{module}")
        self._call = getattr(module, attribute)

    def call(self, *tensors):
        return self._call(*tensors, **self.options)

    def compute_output_spec(self, *tensors):
        spec = self._call.output_spec(*tensors, **self.options)
        if isinstance(spec, list):
            return tuple(keras.KerasTensor(*output) for output in spec)
        return keras.KerasTensor(*spec)

    def get_config(self):
        config = {"function": self.function, "options": self.options}
        return {**config, "name": self.name}


def symbolic(output_spec):
    """Decorates a function whose leading arguments are tensors.

    Args:
        output_spec: function of the same arguments that returns the output's
            shape and dtype, of several outputs a list of such pairs.
            Parameters without default are the tensors and, after them,
            required options.
    """

    def decorate(function):
        signature = inspect.signature(function)
        module = function.__module__.rsplit(".", 1)[-1]
        path = f"{module}.{function.__name__}"

        @functools.wraps(function)
        def call(*args, **kwargs):
            values = (*args, *kwargs.values())
            if not any(isinstance(v, keras.KerasTensor) for v in values):
                return function(*args, **kwargs)
            tensors, options = [], {}
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            for name, value in bound.arguments.items():
                if len(getattr(value, "shape", ())) > 0:
                    tensors.append(value)
                else:
                    options[name] = value
            return PointOperation(path, options)(*tensors)

        call.output_spec = output_spec
        return call

    return decorate
