"""The part metrics under the name that programs know them by."""

from keras_pointpeft.step.iou import ClassMeanIoU
from keras_pointpeft.step.iou import InstanceMeanIoU
from keras_pointpeft.step.iou import PartIoU

__all__ = ["ClassMeanIoU", "InstanceMeanIoU", "PartIoU"]
