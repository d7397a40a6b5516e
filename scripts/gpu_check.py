"""Checks on a GPU, each in a process of its own; see `gpu_check.sh`.

python scripts/gpu_check.py [--results DIR] [--only 'graph:*']
"""

import concurrent.futures
import csv
import datetime
import fnmatch
import json
import os
import subprocess
import sys
import time

from absl import app
from absl import flags
from rich.console import Console
from rich.table import Table

RESULTS = flags.DEFINE_string("results", "runs/gpu_check", "Where rows go.")
JOBS = flags.DEFINE_integer("jobs", 6, "Processes at the same time.")
SECONDS = flags.DEFINE_integer("seconds", 100, "That one process may take.")
ONLY = flags.DEFINE_string("only", "*", "Which checks, as a file pattern.")
CHECK = flags.DEFINE_string("check", None, "Runs one check here.")

COLUMNS = ("check", "what", "value", "at_most", "state", "device", "date")
# Fixtures whose gradients are near their bounds, by part of their names.
FIXTURES = "tests/golden"
STEPS = 8
# Kernels of a product may differ between a graph and the same without one.
CLOSE = 1e-5


def names():
    """All checks: those that take longest come first."""
    from tests.step.cases import cases

    found = [f"graph:{name}" for name in cases()]
    found += [f"recorded:{first}" for first in ("p[a-n]*", "po*", "[!p]*")]
    return [*found, "kernels:small", "kernels:large", "broken:capture"]


# === The checks: each yields what it compared, a value, and its bound ===


def graph(name):
    """Training as a graph against training without one."""
    import keras
    import numpy as np
    import torch

    from keras_pointpeft import ops
    from keras_pointpeft import step_report
    from tests.step.cases import cases

    def trained(captured):
        keras.utils.set_random_seed(0)
        model, inputs, labels = cases()[name]()
        keras.utils.set_random_seed(1)
        way = "cudagraph" if not captured else None
        off = ops.disable_accelerators(way) if way else None
        losses = [
            model.train_on_batch(inputs, labels, return_dict=True)["loss"]
            for _ in range(STEPS)
        ]
        predicted = None
        if not name.startswith(("masked", "generative", "hierarchical")):
            predicted = [model.predict_on_batch(inputs) for _ in range(4)][-1]
        report = step_report(model)
        if off is not None:
            off.__exit__()
        values = [v.numpy().astype("float32") for v in model.weights]
        return values, losses, predicted, report

    plain, plain_losses, plain_predicted, _ = trained(False)
    again = trained(False)[0]
    values, losses, predicted, report = trained(True)
    for kind, rows in report.items():
        for row in rows:
            captured = row["runs"] == "graph"
            why = row.get("why", row["runs"])
            # No library decomposes matrices in a capture.
            expected = captured or "_linalg_" in why
            yield f"{kind} {why if not captured else ''}", not expected, 0
    if name.endswith("bfloat16"):
        close = 1e-2
    else:
        close = CLOSE

    def worst_of(values, others):
        pairs = zip(values, others, strict=True)
        return max(float(np.abs(a - b).max()) for a, b in pairs)

    # Where sums are added up in any order, Adam makes steps of either sign of
    # gradients that are zero but for rounding.
    spread = worst_of(plain, again)
    yield "weights, twice without a graph", spread, 0.1
    close = max(close, 4 * spread)
    yield "weights", worst_of(plain, values), close
    yield (
        "losses",
        float(np.abs(np.subtract(plain_losses, losses)).max()),
        close,
    )
    if predicted is not None:
        worst = float(np.abs(plain_predicted - predicted).max())
        yield "predictions", worst, 10 * close
    torch.cuda.synchronize()


def recorded(pattern):
    """The recorded cases of the published models."""
    process = subprocess.run(
        [
            *(sys.executable, "scripts/verify_reference.py"),
            *("--fixtures", FIXTURES, "--cases", pattern),
        ],
        capture_output=True,
        text=True,
    )
    lines = process.stdout.splitlines()
    for line in lines[:-1]:
        words = line.split()
        if words and words[-1] in ("ok", "FAIL", "unknown"):
            yield words[0], words[-1] != "ok", 0
    if not lines:
        yield process.stderr.strip().splitlines()[-1], 1, 0


def kernels(which):
    """Kernels against loops of numpy and against sorting 64-bit keys."""
    import numpy as np
    import torch

    from keras_pointpeft import ops
    from keras_pointpeft.ops.accelerators import host
    from keras_pointpeft.ops.accelerators import torch_backend
    from tests.ops import clouds

    sizes = {
        "small": ((4, 37, 37, 5), (8, 2048, 128, 32)),
        "large": ((2, 16384, 512, 64), (1, 20000, 256, 64)),
    }
    for batch, count, samples, k in sizes[which]:
        for kind in clouds.KINDS:
            points = clouds.make(kind, batch, count)
            tensor = torch.tensor(points, device="cuda")
            for skip in (False, True):
                found = ops.farthest_point_sample(
                    tensor, samples, skip_origin=skip
                )
                wanted = host.farthest_point_sample(points, samples, skip)
                different = np.sum(found.cpu().numpy() != wanted)
                what = f"sampling of {kind}, {count} points, skip={skip}"
                yield what, int(different), 0
            centers = tensor[:, :samples].contiguous()
            found = ops.knn(centers, tensor, k)
            wanted = torch_backend._topk(centers, tensor, k)
            different = int((found != wanted).sum())
            yield f"neighbours of {kind}, {count} points", different, 0


def broken(_):
    """A step that cannot be captured leaves nothing behind."""
    import keras
    import numpy as np
    import torch

    from keras_pointpeft import step_report
    from tests.step.cases import cases

    class Reads(keras.losses.Loss):
        def call(self, y_true, y_pred):
            # Invisible to a look at the operators.
            torch.cuda.synchronize()
            return keras.losses.sparse_categorical_crossentropy(
                y_true, y_pred, from_logits=True
            )

    def drawn(captured):
        keras.utils.set_random_seed(0)
        model, inputs, labels = cases()["dapt"]()
        if captured:
            model.compile(model.optimizer.__class__(1e-3), Reads())
        keras.utils.set_random_seed(1)
        before = torch.cuda.memory_allocated()
        for _ in range(STEPS if captured else 0):
            model.train_on_batch(inputs, labels)
        grown = torch.cuda.memory_allocated() - before
        keras.utils.set_random_seed(2)
        return model, torch.rand(5, device="cuda").cpu().numpy(), grown

    _, expected, _ = drawn(False)
    drawn(True)
    # Libraries keep memory of their own after the first.
    model, found, grown = drawn(True)
    reasons = [row.get("why") for row in step_report(model)["train"]]
    yield f"eager: {reasons[0]}", reasons[0] is None, 0
    yield "random numbers", float(np.abs(found - expected).max()), 0
    yield "bytes kept", grown, 2**20
    # What is captured afterwards is as good as before.
    yield from graph("dapt")


KINDS = {
    "graph": graph,
    "recorded": recorded,
    "kernels": kernels,
    "broken": broken,
}


# === Around them ===


def run_here(check):
    kind, _, name = check.partition(":")
    begin = time.perf_counter()
    for what, value, most in KINDS[kind](name):
        row = {"what": what, "value": float(value), "at_most": float(most)}
        print("ROW " + json.dumps(row), flush=True)
    print(f"SECONDS {time.perf_counter() - begin:.1f}", flush=True)


def run_apart(check):
    """A list of rows; one that failed if the process did."""
    begin = time.perf_counter()
    try:
        process = subprocess.run(
            [sys.executable, __file__, f"--check={check}"],
            capture_output=True,
            text=True,
            timeout=SECONDS.value,
        )
        output, errors = process.stdout, process.stderr
        failed = process.returncode != 0
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode()
        errors, failed = f"took over {SECONDS.value} s", True
    rows = [
        json.loads(line[4:])
        for line in output.splitlines()
        if line.startswith("ROW ")
    ]
    if failed or not rows:
        last = errors.strip().splitlines()[-12:] or ["nothing was compared"]
        rows.append({"what": "\n".join(last), "value": 1.0, "at_most": 0.0})
    for row in rows:
        right = row["value"] <= row["at_most"]  # NaN is not
        row.update(check=check, state="ok" if right else "FAIL")
    return rows, time.perf_counter() - begin


def main(_):
    if CHECK.value is not None:
        run_here(CHECK.value)
        return
    import torch

    begin = time.perf_counter()
    device = torch.cuda.get_device_name()
    wanted = [n for n in names() if fnmatch.fnmatch(n, ONLY.value)]
    path = os.path.join(RESULTS.value, "checks.csv")
    table = Table(title=f"Checks on {device}")
    for name in ("check", "compared", "worst", "seconds", "state"):
        table.add_column(name)
    failures = []
    os.makedirs(RESULTS.value, exist_ok=True)
    with (
        open(path, "a", newline="", encoding="utf-8") as file,
        concurrent.futures.ThreadPoolExecutor(JOBS.value) as pool,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            writer.writeheader()
        for check, (rows, seconds) in zip(wanted, pool.map(run_apart, wanted)):
            for row in rows:
                row = {
                    **row,
                    "device": device,
                    "date": datetime.date.today().isoformat(),
                }
                writer.writerow(row)
            bad = [row for row in rows if row["state"] != "ok"]
            failures += bad
            worst = max(rows, key=lambda row: row["value"])
            table.add_row(
                check,
                str(len(rows)),
                f"{worst['value']:.1e}",
                f"{seconds:.0f}",
                "FAIL" if bad else "ok",
            )
    Console(width=100).print(table)
    for row in failures:
        print(f"FAIL {row['check']} {row['value']:.3g}: {row['what']}")
    print(
        f"{len(wanted)} checks, {len(failures)} failures, "
        f"{time.perf_counter() - begin:.0f} s"
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    app.run(main)
