"""Measures what serving costs: latency and memory, way by way.

    python scripts/measure_serving.py --page=docs/guides/serving.md

Each way runs in a process of its own, whose peak memory is told; latency is
the median of calls after warming up. With --page, the table of that page is
written anew.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app
from absl import flags

PRESET = flags.DEFINE_string(
    "preset", "dapt_pointmaetiny_shapes", "The model to serve."
)
NUM_POINTS = flags.DEFINE_integer("num_points", 512, "Points of a cloud.")
BATCHES = flags.DEFINE_list("batches", ["1", "32"], "Clouds at once.")
CALLS = flags.DEFINE_integer("calls", 30, "Calls whose median is told.")
PAGE = flags.DEFINE_string("page", None, "Page whose table is written anew.")
WAY = flags.DEFINE_string("way", None, "Measure this way alone, as JSON.")
FILE = flags.DEFINE_string("file", None, "The ONNX file of --way=onnx.")

WAYS = {
    "predict": "`model.predict(points)`",
    "predict_on_batch": "`model.predict_on_batch(points)`",
    "call": "`model(points, training=False)`",
    "onnx": "ONNX Runtime",
}
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def main(_):
    if WAY.value is not None:
        print(json.dumps(measure(WAY.value)))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.onnx"
        apart("export", file)
        rows = [(way, apart(way, file)) for way in WAYS]
    text = table(rows)
    print(text)
    if PAGE.value is not None:
        write_page(pathlib.Path(PAGE.value), text)


def apart(way, file):
    """What `measure` finds in a process of its own."""
    from keras_pointpeft.commands import Progress

    command = [sys.executable, __file__, *settings(), f"--way={way}"]
    with Progress(f"measuring {WAYS.get(way, way)}"):
        done = subprocess.run(
            [*command, f"--file={file}"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def settings():
    return [
        f"--preset={PRESET.value}",
        f"--num_points={NUM_POINTS.value}",
        f"--batches={','.join(BATCHES.value)}",
        f"--calls={CALLS.value}",
    ]


def measure(way):
    """Milliseconds by batch, megabytes, and what it ran on."""
    if way == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(
            FILE.value, providers=["CPUExecutionProvider"]
        )
        versions = f"onnxruntime {onnxruntime.__version__}"

        def serve(points):
            return session.run(None, {"points": points})
    else:
        import keras

        import keras_pointpeft

        model = keras_pointpeft.from_preset(
            PRESET.value, load_weights="backbone"
        )
        if way == "export":
            model.export(FILE.value, format="onnx")
            return {}
        backend = keras.backend.backend()
        versions = f"keras {keras.__version__} on {backend}"
        serve = {
            "predict": lambda x: model.predict(x, verbose=0),
            "predict_on_batch": model.predict_on_batch,
            "call": lambda x: np.asarray(direct(model, x)),
        }[way]
    rng = np.random.default_rng(0)
    found = {"versions": versions, "cores": len(os.sched_getaffinity(0))}
    for batch in map(int, BATCHES.value):
        shape = (batch, NUM_POINTS.value, 3)
        points = rng.normal(size=shape).astype("float32")
        times = []
        for call in range(3 + CALLS.value):
            begin = time.perf_counter()
            serve(points)
            times.append(time.perf_counter() - begin)
        found[str(batch)] = 1000 * statistics.median(times[3:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["megabytes"] = peak / (2**20 if sys.platform == "darwin" else 1024)
    return found


def direct(model, points):
    import keras

    if keras.backend.backend() == "torch":
        import torch

        with torch.no_grad():
            return model(points, training=False).cpu()
    return model(points, training=False)


def table(rows):
    """The measurements as a table of Markdown."""
    batches = BATCHES.value
    head = ["", *(f"ms, {batch} cloud(s)" for batch in batches), "peak MB"]
    lines = [head, ["---", *["---:"] * (len(batches) + 1)]]
    for way, found in rows:
        times = [f"{found[batch]:.1f}" for batch in batches]
        lines.append([WAYS[way], *times, f"{found['megabytes']:.0f}"])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    versions = sorted({found["versions"] for _, found in rows})
    cores = rows[0][1]["cores"]
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f", OMP_NUM_THREADS={threads}" if threads else ""
    return (
        f"{text}\n\n`{PRESET.value}`, {NUM_POINTS.value} points, median of "
        f"{CALLS.value} calls; CPU, {cores} cores{limit}; "
        f"{', '.join(versions)}."
    )


def write_page(path, text):
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    page = f"{before}{BEGIN}\n{text}\n{END}{after}"
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
