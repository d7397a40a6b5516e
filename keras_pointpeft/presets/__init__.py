"""The zoo: what a preset's name stands for, and the models made from it."""

import importlib

from keras_pointpeft.presets.building import from_preset
from keras_pointpeft.presets.names import PresetDescription
from keras_pointpeft.presets.names import add_cards
from keras_pointpeft.presets.names import list_presets
from keras_pointpeft.presets.names import resolve
from keras_pointpeft.presets.weights import WeightsNotFound

# Imported on first use: they bring Keras, or are rarely needed.
_LATER = {"card": "model_card", "convert": "conversion"}

__all__ = [
    "PresetDescription",
    "WeightsNotFound",
    "add_cards",
    "card",
    "convert",
    "from_preset",
    "list_presets",
    "resolve",
]


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LATER[name]}")
    return getattr(module, name)
