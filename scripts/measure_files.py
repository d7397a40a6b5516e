"""Measures what reading scans costs, and a scene of a square kilometre.

    python scripts/measure_files.py --results=zoo/results/benchmark.csv

For each format, scans of 100,000 points are read alone, and read, drawn from
and normalised by `load_folder` (of h5, `load_h5`), in turns, round by round, in
one process; what is told is the median of the rounds' CPU times. The scene is
predicted in processes of their own, whose peak memory is told beside the 2 GB
that it may take: one with all that is installed, and one without TensorFlow,
which keras-hub otherwise imports on every backend.
"""

import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
from absl import app
from absl import flags

FORMATS = ("npy", "bin", "ply", "pcd", "las", "laz", "h5")
KINDS = flags.DEFINE_list(
    "formats", list(FORMATS), "Formats of scans, or none of them."
)
SCANS = flags.DEFINE_integer("scans", 10_000, "How many scans are read.")
FILES = flags.DEFINE_integer("files", 25, "Different files; read repeatedly.")
POINTS = flags.DEFINE_integer("points", 100_000, "Points of a scan.")
DRAWN = flags.DEFINE_integer("drawn", 2048, "Points that are drawn of each.")
SIDE = flags.DEFINE_integer("side", 1000, "Width of the scene in m, 0: none.")
DENSITY = flags.DEFINE_float("density", 8.0, "Points a square metre.")
PRESET = flags.DEFINE_string(
    "preset", "linear_pointmaetiny_rooms", "The model of the scene."
)
COLUMN = flags.DEFINE_float("column", 15.0, "Width of its columns in m.")
RESULTS = flags.DEFINE_string("results", None, "CSV file to add rows to.")
SCENE = flags.DEFINE_bool("scene", False, "Predict the scene alone, as JSON.")
LEAN = flags.DEFINE_bool("lean", False, "Let nothing import TensorFlow.")

ROUNDS = 20
WANTED = 2.0  # times the reading alone
MEMORY = 2.0e9  # bytes, for the scene


def main(_):
    if SCENE.value:
        print(json.dumps(scene()))
        return
    for kind in KINDS.value:
        with tempfile.TemporaryDirectory() as folder:
            read, whole, grown, rounds = reading(kind, pathlib.Path(folder))
        print(
            f"{kind}: {1e3 * read:.2f} ms to read a scan, {1e3 * whole:.2f} "
            f"with drawing and normalising, ratio {whole / read:.2f}; memory "
            f"grew by {grown / 1e6:.1f} MB in {SCANS.value} scans",
            flush=True,
        )
        side = f"read, draw {DRAWN.value} and normalise {kind}"
        add(f"reading_{kind}", "CPU seconds", side, f"read {kind}",
            whole, read, WANTED, SCANS.value, rounds)  # fmt: skip
    if not SIDE.value:
        return
    for lean in (False, True):
        names = ("side", "density", "preset", "column")
        told = [f"--{n}={flags.FLAGS[n].value}" for n in names]
        told.append(f"--lean={lean}")
        done = subprocess.run(
            [sys.executable, __file__, "--scene", *told],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        print(found, flush=True)
        side = f"{found['points']} points by {PRESET.value}"
        side += ", without TensorFlow" * lean
        name = "scene_memory_lean" if lean else "scene_memory"
        add(name, "bytes at the peak", side, "2 GB",
            found["bytes"], MEMORY, 1.0, 1, 1)  # fmt: skip


# === Reading ===


def reading(kind, folder):
    """What a scan costs.

    Returns:
        CPU seconds of one, read alone and made ready; growth of the process
        in bytes; how many rounds the seconds are the median of.
    """
    from keras_pointpeft import data
    from keras_pointpeft.commands import Progress

    options = {"bin_columns": 4} if kind == "bin" else {}
    # Rounds of a hundred scans or more, so that what is done once is little.
    rounds = max(1, min(ROUNDS, SCANS.value // 100))
    each = max(1, SCANS.value // rounds // FILES.value) * FILES.value
    with Progress(f"writing {kind}"):
        write(kind, folder, each)
    if kind == "h5":
        path = folder / "train.h5"

        def read():
            for _ in range(each // FILES.value):
                data.load_h5(path, normalize=False)

        def whole():
            for _ in range(each // FILES.value):
                data.load_h5(path, normalize=True, num_points=DRAWN.value)

    else:
        paths = sorted((folder / "set" / "scan").iterdir())

        def read():
            for path in paths:
                data.read_cloud(path, **options)

        def whole():
            data.load_folder(folder / "set", None, DRAWN.value, **options)

    spent = {read: [], whole: []}
    for number in range(1 + rounds):
        for work, seconds in spent.items():
            with Progress(f"reading {kind}, round {number} of {rounds}"):
                begin = time.process_time()
                work()
                seconds.append((time.process_time() - begin) / each)
        if not number:
            # By now all is imported and compiled.
            before = own_memory()
    read, whole = (statistics.median(s[1:]) for s in spent.values())
    return read, whole, own_memory() - before, rounds


def own_memory():
    """Bytes of this process that no file stands for."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("This system does not tell the memory of a process")


def write(kind, folder, count):
    """A few files of scans, and `count` names for them."""
    rng = np.random.default_rng(0)
    clouds = rng.normal(0, 3, (FILES.value, POINTS.value, 3)).round(3)
    if kind == "h5":
        import h5py

        with h5py.File(folder / "train.h5", "w") as file:
            file["data"] = clouds.astype("float32")
            file["label"] = np.zeros(len(clouds), "int64")
        return
    place = folder / "set" / "scan"
    place.mkdir(parents=True)
    for number, cloud in enumerate(clouds):
        path = folder / f"{number}.{kind}"
        WRITERS[kind](path, cloud)
        for copy in range(number, count, len(clouds)):
            os.link(path, place / f"{copy:05}.{kind}")


def write_las(path, cloud):
    import laspy

    scan = laspy.create(point_format=6, file_version="1.4")
    scan.header.offsets, scan.header.scales = (4e5, 5.4e6, 0), [0.001] * 3
    scan.x, scan.y, scan.z = (cloud + (4e5, 5.4e6, 352)).T
    scan.write(path)


def write_rows(path, cloud):
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(cloud)}\nproperty float x\nproperty float y\n"
        "property float z\nend_header\n"
    )
    if path.suffix == ".pcd":
        header = (
            "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
            f"WIDTH {len(cloud)}\nHEIGHT 1\nPOINTS {len(cloud)}\nDATA binary\n"
        )
    path.write_bytes(header.encode() + cloud.astype("<f4").tobytes())


WRITERS = {
    "npy": lambda path, cloud: np.save(path, cloud.astype("float32")),
    "bin": lambda path, cloud: np.c_[cloud, cloud[:, 0]]
    .astype("<f4")
    .tofile(path),
    "ply": write_rows,
    "pcd": write_rows,
    "las": write_las,
    "laz": write_las,
}


# === The scene ===


def scene():
    """Predicts hills on a map; bytes at the peak of this process."""
    import resource

    if LEAN.value:
        # As where it is not installed.
        sys.modules.update(dict.fromkeys(("tensorflow", "tensorflow_text")))
    import keras_pointpeft

    model = keras_pointpeft.from_preset(PRESET.value, load_weights="backbone")
    points = hills(SIDE.value, int(DENSITY.value * SIDE.value**2))
    before = peak(resource)
    begin = time.perf_counter()
    with warnings.catch_warnings():
        # The model was made for rooms; here it is what it costs.
        warnings.simplefilter("ignore")
        labels = model.predict_room(
            points, column_size=COLUMN.value, stride=COLUMN.value
        )
    return {
        "points": len(labels),
        "labels": np.bincount(labels).tolist(),
        "seconds": time.perf_counter() - begin,
        "column": COLUMN.value,
        "tensorflow": bool(sys.modules.get("tensorflow")),
        "bytes_before": before,
        "bytes": peak(resource),
    }


def peak(resource):
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def hills(side, count):
    """A random scan of ground with things on it, at map coordinates."""
    rng = np.random.default_rng(0)
    points = np.empty((count, 3))
    for part in np.array_split(points, -(-count // 2**19)):
        part[:, :2] = rng.uniform(0, side, (len(part), 2))
        part[:, 2] = 20 * np.sin(part[:, 0] / 90) * np.cos(part[:, 1] / 70)
        things = rng.random(len(part)) < 0.3
        part[:, 2] += things * rng.exponential(2, len(part))
        part += (4e5, 5.4e6, 352)
    return points


def add(
    name,
    quantity,
    side,
    baseline,
    value,
    baseline_value,
    wanted,
    scans,
    repeats,
):
    """One row of the table of costs."""
    if RESULTS.value is None:
        return
    import keras

    import keras_pointpeft
    from keras_pointpeft.presets import results

    row = {
        "benchmark": name,
        "quantity": quantity,
        "side": side,
        "baseline": baseline,
        "value": f"{value:.6g}",
        "baseline_value": f"{baseline_value:.6g}",
        "ratio": f"{value / baseline_value:.3f}",
        "wanted": wanted,
        "batch_size": scans,
        "repeats": repeats,
        "backend": keras.backend.backend(),
        "device": "cpu",
        "threads": os.environ.get("OMP_NUM_THREADS", os.cpu_count()),
        "version": keras_pointpeft.__version__,
        "date": datetime.date.today().isoformat(),
    }
    results.append_row(RESULTS.value, row, results.COST)


if __name__ == "__main__":
    app.run(main)
