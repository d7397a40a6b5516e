"""Backbones and tasks."""

from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.classifier import PointCloudClassifier
from keras_pointpeft.models.masked_autoencoder import MaskedAutoencoder
from keras_pointpeft.models.point_mae import PointMAEBackbone

__all__ = [
    "MaskedAutoencoder",
    "PointBackbone",
    "PointCloudClassifier",
    "PointMAEBackbone",
]
