"""Small files in the exact layouts of the official releases."""

import pickle

import h5py
import numpy as np
import pytest

from keras_pointpeft.data.modelnet import CLASS_NAMES

VARIANT_FILES = {
    "hardest": ("main_split", "objectdataset_augmentedrot_scale75.h5"),
    "objbg": ("main_split", "objectdataset.h5"),
    "objonly": ("main_split_nobg", "objectdataset.h5"),
}


def make_clouds(count, points=64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(2, 0.5, (count, points, 3)).astype("float32")


def write_h5(path, data, label, **extra):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["data"] = data
        file["label"] = label
        for key, value in extra.items():
            file[key] = value
    return path


@pytest.fixture
def scanobjectnn(tmp_path):
    """`h5_files` with all three variants; seeds tell them apart."""
    root = tmp_path / "h5_files"
    for seed, (folder, ending) in enumerate(VARIANT_FILES.values()):
        for prefix, count in (("training", 30), ("test", 15)):
            data = make_clouds(count, seed=100 * seed + count)
            mask = np.full(data.shape[:2], -1, "int32")
            label = (np.arange(count) % 15).astype("int32")
            write_h5(
                root / folder / f"{prefix}_{ending}", data, label, mask=mask
            )
    return root


@pytest.fixture
def modelnet_txt(tmp_path):
    """`modelnet40_normal_resampled`: one text file for each shape."""
    root = tmp_path / "modelnet40_normal_resampled"
    root.mkdir()
    names = CLASS_NAMES[40]
    (root / "modelnet40_shape_names.txt").write_text("\n".join(names) + "\n")
    rng = np.random.default_rng(0)
    for split, numbers in (("train", (1, 2)), ("test", (3,))):
        shapes = [f"{n}_{i:04d}" for n in names[14:18] for i in numbers]
        listing = root / f"modelnet40_{split}.txt"
        listing.write_text("\n".join(shapes) + "\n")
        for shape in shapes:
            folder = root / shape.rsplit("_", 1)[0]
            folder.mkdir(exist_ok=True)
            rows = rng.uniform(-1, 1, (50, 6))
            np.savetxt(folder / f"{shape}.txt", rows, "%.6f", delimiter=",")
    return root


@pytest.fixture
def modelnet_h5(tmp_path):
    """`modelnet40_ply_hdf5_2048`: several files, labels `(n, 1)` uint8."""
    root = tmp_path / "modelnet40_ply_hdf5_2048"
    root.mkdir()
    for split, files in (("train", 2), ("test", 1)):
        lines = []
        for number in range(files):
            name = f"ply_data_{split}{number}.h5"
            label = (np.arange(6) + 6 * number).astype("uint8")[:, None]
            data = make_clouds(6, seed=number)
            write_h5(root / name, data, label, normal=np.zeros_like(data))
            lines.append(f"data/modelnet40_ply_hdf5_2048/{name}")
        (root / f"{split}_files.txt").write_text("\n".join(lines) + "\n")
    (root / "shape_names.txt").write_text("\n".join(CLASS_NAMES[40]) + "\n")
    return root


@pytest.fixture
def modelnet_dat(tmp_path):
    """Point-BERT's cache: a pickle of two lists."""
    root = tmp_path / "ModelNet"
    root.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 5)):
        clouds = [rng.normal(size=(64, 6)).astype("f4") for _ in range(count)]
        labels = [np.array([i % 40], "int32") for i in range(count)]
        path = root / f"modelnet40_{split}_8192pts_fps.dat"
        with open(path, "wb") as file:
            pickle.dump([clouds, labels], file)
    return root


@pytest.fixture
def few_shot(tmp_path):
    """`ModelNetFewshot/5way_10shot/0.pkl`."""
    folder = tmp_path / "ModelNetFewshot" / "5way_10shot"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def entries(count):
        return [
            (rng.normal(size=(64, 6)), way, f"class{way}")
            for way in range(5)
            for _ in range(count)
        ]

    with open(folder / "0.pkl", "wb") as file:
        pickle.dump({"train": entries(10), "test": entries(20)}, file)
    return tmp_path / "ModelNetFewshot"
