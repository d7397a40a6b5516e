"""Published checkpoints and our weights, with every tensor accounted for."""

from keras_pointpeft.checkpoints.names import NameMap
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.checkpoints.transfer import TransferReport
from keras_pointpeft.checkpoints.transfer import export
from keras_pointpeft.checkpoints.transfer import fill

__all__ = [
    "CheckpointMismatch",
    "NameMap",
    "TransferReport",
    "export",
    "fill",
]
