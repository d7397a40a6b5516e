"""Point clouds for training: readers, sampling, augmentation, batches."""

import importlib

_NAMES = {
    "FollowEpoch": "follow_epoch",
    "PointCloudDataset": "dataset",
    "Room": "s3dis",
    "RoomDataset": "room_dataset",
    "Split": "splits",
    "list_datasets": "registry",
    "load": "registry",
    "load_few_shot": "few_shot",
    "load_folder": "folder",
    "load_h5": "scanobjectnn",
    "load_modelnet": "modelnet",
    "load_rooms": "procedural",
    "load_s3dis": "s3dis",
    "load_scanobjectnn": "scanobjectnn",
    "load_shapenet55": "shapenet",
    "load_shapenetpart": "shapenet",
    "load_shapes": "procedural",
    "make_shapes": "shapes",
    "predict_room": "room_dataset",
    "read_cloud": "geometry_files",
    "sample_episode": "few_shot",
    "sample_points": "sampling",
    "train_validation_split": "splits",
    "unit_sphere": "normalization",
}
_MODULES = ("augmentation", "shapes")

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name):
    # Imported on first use: h5py, numba and Keras only where they are needed.
    if name in _NAMES:
        module = importlib.import_module(f"{__name__}.{_NAMES[name]}")
        return getattr(module, name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
