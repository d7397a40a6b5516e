"""The zoo: what a preset's name stands for, and the models made from it."""

from keras_pointpeft import lazy

__getattr__, __dir__, __all__ = lazy.face(
    __name__,
    {
        "PresetDescription": "presets.names",
        "WeightsNotFound": "presets.weights",
        "add_cards": "presets.names",
        "card": "presets.model_card",
        "convert": "presets.conversion",
        "find_class": "presets.construction",
        "from_adapter": "presets.adapted",
        "from_preset": "presets.building",
        "list_presets": "presets.names",
        "resolve": "presets.names",
    },
    ("cards", "model_card", "results"),
)
