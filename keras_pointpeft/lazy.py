"""Names of a package that are imported when they are first used."""

import importlib
import sys


def face(package, names, modules=()):
    """What a package shows: its `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: string, its `__name__`.
        names: dict from names to the modules they stand in, below
            `keras_pointpeft`.
        modules: names of modules of the package itself.
    """
    shown = [*names, *modules]

    def get(name):
        if name in names:
            return getattr(_module(f"keras_pointpeft.{names[name]}"), name)
        if name in modules:
            return _module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted(shown), shown


def _module(name):
    if name in sys.modules:
        return importlib.import_module(name)
    # Keras and a backend may come with it, and take their time.
    from keras_pointpeft.files.progress import Progress

    with Progress("starting Keras"):
        return importlib.import_module(name)
