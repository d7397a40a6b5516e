"""Backbones and tasks."""

from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.classifier import PointCloudClassifier
from keras_pointpeft.models.point_mae import PointMAEBackbone

__all__ = [
    "PointBackbone",
    "PointCloudClassifier",
    "PointMAEBackbone",
]
