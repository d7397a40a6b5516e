"""Names of a package that are imported when they are first used."""

import importlib


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
            module = importlib.import_module(f"keras_pointpeft.{names[name]}")
            return getattr(module, name)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted(shown), shown
