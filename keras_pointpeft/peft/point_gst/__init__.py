"""PointGST: fine-tuning in the spectral domain (2024)."""

from keras_pointpeft.peft.point_gst.method import PointGST

__all__ = ["PointGST"]
