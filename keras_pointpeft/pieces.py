"""Layers that Keras cuts out of a backbone, saves, and puts together again.

`keras.Model(backbone.input, backbone.output["patch_tokens"])` and
`keras.models.clone_model(backbone)` are plain Keras models: Keras makes their
layers one by one from their configs. What a method froze, and what its layers
share, is known to the whole backbone alone. So the config of such a layer has
that of its backbone, and the layers of one model come out of one backbone,
which is made for them.
"""

import threading
import uuid
import weakref

import keras

# Backbones that layers are being taken out of, by the backbone they are from.
_open = threading.local()


class _Live(dict):
    """A config that was not written to a file: Keras clones its layer."""


class Piece:
    """A layer that may be a part of a backbone. Mix it in first."""

    def get_config(self):
        whole = vars(self).get("_piece_of")
        if whole is None:
            return getattr(super(), "get_config", dict)()
        return _Live(
            name=self.name,
            piece_of={"key": whole.key, "backbone": whole.config()},
        )

    @classmethod
    def from_config(cls, config):
        if "piece_of" not in config:
            make = getattr(super(), "from_config", None)
            return cls(**config) if make is None else make(config)
        backbone = _opened(config["name"], **config["piece_of"])
        layer = backbone.get_layer(config["name"])
        # The graph that it is taken out of; another one calls it anew.
        layer._inbound_nodes.clear()
        layer._outbound_nodes.clear()
        if hasattr(layer, "reads") and not isinstance(config, _Live):
            _check_at_first_call(layer, backbone)
        return layer


class _Whole:
    """A backbone as its layers know it."""

    def __init__(self, backbone):
        self.key = uuid.uuid4().hex
        self.taken = set()
        # The layers keep it, for others may share something with them.
        self.backbone = backbone

    def config(self):
        return keras.saving.serialize_keras_object(self.backbone)


def make_pieces(backbone):
    """Tells the layers of a backbone what they are parts of."""
    whole = _Whole(backbone)
    # Past Keras, which would take it for a part of the layer.
    object.__setattr__(backbone, "_whole_of_pieces", whole)
    for layer in backbone.layers:
        if isinstance(layer, Piece):
            object.__setattr__(layer, "_piece_of", whole)


def _opened(name, key, backbone):
    """The backbone to take a layer from: of one model, always the same."""
    if not hasattr(_open, "backbones"):
        _open.backbones = weakref.WeakValueDictionary()
    found = _open.backbones.get(key)
    if found is None or name in found._whole_of_pieces.taken:
        found = keras.saving.deserialize_keras_object(backbone)
        _open.backbones[key] = found
    found._whole_of_pieces.taken.add(name)
    return found


def _check_at_first_call(layer, backbone):
    """Refuses a piece that reads layers which are not in it, nor its file.

    When Keras calls the first layer of a saved model, it has made them all.
    """

    def checked(*args, **kwargs):
        del vars(layer)["compute_output_spec"]
        taken = backbone._whole_of_pieces.taken
        known = {
            id(variable)
            for name in taken
            for variable in backbone.get_layer(name).variables
        }
        if any(id(variable) not in known for variable in layer.reads):
            raise ValueError(
                "This model was cut out of a backbone whose method reads all "
                "of its blocks, and its file has but some of them. Save the "
                "backbone, and cut the model out again after loading. "
                f"Received: a model with {sorted(taken)}"
            )
        return layer.compute_output_spec(*args, **kwargs)

    object.__setattr__(layer, "compute_output_spec", checked)
