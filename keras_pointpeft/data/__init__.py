"""Point clouds for training: readers, sampling, augmentation, batches."""

from keras_pointpeft import lazy

# h5py, numba and Keras only where they are needed.
__getattr__, __dir__, __all__ = lazy.face(
    __name__,
    {
        "Contract": "data.contract",
        "EpochDataset": "data.epochs",
        "FollowEpoch": "data.follow_epoch",
        "PROCEDURAL": "data.registry",
        "PointCloudDataset": "data.dataset",
        "ProgramDataset": "data.program_dataset",
        "Room": "data.s3dis",
        "RoomDataset": "data.room_dataset",
        "Split": "data.splits",
        "list_datasets": "data.registry",
        "load": "data.registry",
        "load_few_shot": "data.few_shot",
        "load_folder": "data.folder",
        "load_h5": "data.scanobjectnn",
        "load_modelnet": "data.modelnet",
        "load_programs": "data.procedural",
        "load_rooms": "data.procedural",
        "load_s3dis": "data.s3dis",
        "load_scanobjectnn": "data.scanobjectnn",
        "load_shapenet55": "data.shapenet",
        "load_shapenetpart": "data.shapenet",
        "load_shapes": "data.procedural",
        "make_programs": "data.shapes",
        "make_shapes": "data.shapes",
        "predict_room": "data.room_dataset",
        "read_cloud": "data.geometry_files",
        "read_content": "data.geometry_files",
        "sample_episode": "data.few_shot",
        "sample_points": "data.sampling",
        "train_validation_split": "data.splits",
        "unit_sphere": "data.normalization",
    },
    ("augmentation", "shapes", "sources"),
)
