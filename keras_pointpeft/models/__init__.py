"""Backbones and tasks."""

from keras_pointpeft.models.act import ACTBackbone
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.classifier import PointCloudClassifier
from keras_pointpeft.models.hierarchical_masked_autoencoder import (
    HierarchicalMaskedAutoencoder,
)
from keras_pointpeft.models.masked_autoencoder import MaskedAutoencoder
from keras_pointpeft.models.point_bert import PointBERTBackbone
from keras_pointpeft.models.point_gpt import PointGPTBackbone
from keras_pointpeft.models.point_m2ae import PointM2AEBackbone
from keras_pointpeft.models.point_mae import PointMAEBackbone
from keras_pointpeft.models.recon import ReConBackbone

__all__ = [
    "ACTBackbone",
    "HierarchicalMaskedAutoencoder",
    "MaskedAutoencoder",
    "PointBERTBackbone",
    "PointBackbone",
    "PointCloudClassifier",
    "PointGPTBackbone",
    "PointM2AEBackbone",
    "PointMAEBackbone",
    "ReConBackbone",
]
