"""Published checkpoints and our weights, with every tensor accounted for."""

from keras_pointpeft.checkpoints.extension import add_layout
from keras_pointpeft.checkpoints.loading import build
from keras_pointpeft.checkpoints.loading import load_into
from keras_pointpeft.checkpoints.names import NameMap
from keras_pointpeft.checkpoints.reader import CheckpointRefused
from keras_pointpeft.checkpoints.reader import read_checkpoint
from keras_pointpeft.checkpoints.sources import Source
from keras_pointpeft.checkpoints.sources import identify
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.checkpoints.transfer import TransferReport
from keras_pointpeft.checkpoints.transfer import export
from keras_pointpeft.checkpoints.transfer import fill
from keras_pointpeft.checkpoints.writer import published_state
from keras_pointpeft.checkpoints.writer import write_checkpoint
from keras_pointpeft.checkpoints.writer import write_half

__all__ = [
    "CheckpointMismatch",
    "CheckpointRefused",
    "NameMap",
    "Source",
    "TransferReport",
    "add_layout",
    "build",
    "export",
    "fill",
    "identify",
    "load_into",
    "published_state",
    "read_checkpoint",
    "write_checkpoint",
    "write_half",
]
