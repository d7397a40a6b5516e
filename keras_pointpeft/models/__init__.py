"""Backbones and tasks."""

from keras_pointpeft.models import frozen_stem
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.point_gpt import PointGPTBackbone
from keras_pointpeft.models.point_m2ae import PointM2AEBackbone
from keras_pointpeft.models.point_mae import ACTBackbone
from keras_pointpeft.models.point_mae import PCPMAEBackbone
from keras_pointpeft.models.point_mae import PointBERTBackbone
from keras_pointpeft.models.point_mae import PointMAEBackbone
from keras_pointpeft.models.point_mae import PointPQAEBackbone
from keras_pointpeft.models.pretraining.center_predicting_autoencoder import (
    CenterPredictingAutoencoder,
)
from keras_pointpeft.models.pretraining.generative_pretrainer import (
    GenerativePretrainer,
)
from keras_pointpeft.models.pretraining.hierarchical_masked_autoencoder import (
    HierarchicalMaskedAutoencoder,
)
from keras_pointpeft.models.pretraining.masked_autoencoder import (
    MaskedAutoencoder,
)
from keras_pointpeft.models.recon import ReConBackbone
from keras_pointpeft.models.tasks.classifier import PointCloudClassifier
from keras_pointpeft.models.tasks.part_segmenter import PartSegmenter
from keras_pointpeft.models.tasks.semantic_segmenter import SemanticSegmenter

__all__ = [
    "ACTBackbone",
    "CenterPredictingAutoencoder",
    "GenerativePretrainer",
    "HierarchicalMaskedAutoencoder",
    "MaskedAutoencoder",
    "PCPMAEBackbone",
    "PartSegmenter",
    "PointBERTBackbone",
    "PointBackbone",
    "PointCloudClassifier",
    "PointGPTBackbone",
    "PointM2AEBackbone",
    "PointMAEBackbone",
    "PointPQAEBackbone",
    "ReConBackbone",
    "SemanticSegmenter",
    "frozen_stem",
]
