"""The console command `keras-pointpeft`; `scripts/` are its verbs one by one.

Each verb is a module with a docstring to read, a set of flags of its own,
`FLAGS`, the order to read them in, `GROUPS`, and `main`.
"""

from keras_pointpeft import lazy

__getattr__, __dir__, __all__ = lazy.face(
    __name__,
    {
        "Progress": "files.progress",
        "main": "commands.console",
        "run": "commands.console",
    },
    ("shared",),
)
