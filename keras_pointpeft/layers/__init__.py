"""Keras layers that several models share."""

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import DropPath
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.chain_order import ChainOrder
from keras_pointpeft.layers.contrast_tokens import ContrastTokens
from keras_pointpeft.layers.feature_propagation import FeaturePropagation
from keras_pointpeft.layers.graph_propagation import GraphPropagation
from keras_pointpeft.layers.heads import ClassificationHead
from keras_pointpeft.layers.heads import ClassTokens
from keras_pointpeft.layers.heads import SplitTokens
from keras_pointpeft.layers.heads import TokenPooling
from keras_pointpeft.layers.near_mask import NearMask
from keras_pointpeft.layers.patches import CodedPositionMLP
from keras_pointpeft.layers.patches import PatchChannels
from keras_pointpeft.layers.patches import PatchEncoder
from keras_pointpeft.layers.patches import PointPatches
from keras_pointpeft.layers.patches import PositionMLP
from keras_pointpeft.layers.patches import SinePosition
from keras_pointpeft.layers.point_generator import PointGenerator
from keras_pointpeft.layers.point_head import CategoryEmbedding
from keras_pointpeft.layers.point_head import CategoryTable
from keras_pointpeft.layers.point_head import PointHead
from keras_pointpeft.layers.token_decoder import TokenDecoder
from keras_pointpeft.layers.token_propagation import TokenPropagation
from keras_pointpeft.layers.transformer_block import TransformerBlock

__all__ = [
    "BatchNorm",
    "CategoryEmbedding",
    "CategoryTable",
    "ChainOrder",
    "ClassTokens",
    "ClassificationHead",
    "CodedPositionMLP",
    "ContrastTokens",
    "DropPath",
    "Dropout",
    "FeaturePropagation",
    "GraphPropagation",
    "LayerNormalization",
    "Linear",
    "NearMask",
    "PatchChannels",
    "PatchEncoder",
    "PointGenerator",
    "PointHead",
    "PointPatches",
    "PositionMLP",
    "SinePosition",
    "SplitTokens",
    "TokenDecoder",
    "TokenPooling",
    "TokenPropagation",
    "TransformerBlock",
]
