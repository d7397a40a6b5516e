"""Parameter-efficient fine-tuning of point-cloud transformers in Keras 3."""

import importlib

from keras_pointpeft.version import __version__

_FUNCTIONS = {
    "from_preset": "keras_pointpeft.presets",
    "list_presets": "keras_pointpeft.presets",
    "step_report": "keras_pointpeft.step",
}
_MODULES = (
    "adapters",
    "checkpoints",
    "data",
    "experiments",
    "layers",
    "models",
    "ops",
    "peft",
    "presets",
    "reports",
    "training",
)

__all__ = ["__version__", *_FUNCTIONS, *_MODULES]


def __getattr__(name):
    # Imported on first use: models bring keras-hub, which is slow to import.
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"keras_pointpeft.{name}")
    raise AttributeError(f"module 'keras_pointpeft' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
