"""Checks on a GPU, some processes at the same time; see `gpu_check.sh`.

python scripts/gpu_check.py [--results DIR] [--only 'graph:*,kernels:*']

Rows are written as they come, and the table is printed in any case: when the
time is up (--budget), and when the script is told to end.
"""

import csv
import datetime
import fnmatch
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

from absl import app
from absl import flags
from rich.console import Console
from rich.table import Table

RESULTS = flags.DEFINE_string("results", "runs/gpu_check", "Where rows go.")
JOBS = flags.DEFINE_integer("jobs", 6, "Processes at the same time.")
SECONDS = flags.DEFINE_integer("seconds", 100, "That one check may take.")
BUDGET = flags.DEFINE_integer("budget", 150, "Seconds for all of them.")
ONLY = flags.DEFINE_list("only", "*", "Which checks, as file patterns.")
HERE = flags.DEFINE_bool("here", False, "Runs checks that come on stdin.")

COLUMNS = ("check", "what", "value", "at_most", "state", "device", "date")
FIXTURES = "tests/golden"
STEPS = 8
# Kernels of a product may differ between a graph and the same without one.
CLOSE = 1e-5


def names():
    """All checks: those that take longest come first."""
    from tests.step.cases import cases

    found = [f"graph:{name}" for name in cases()]
    found += [f"recorded:{first}" for first in ("p[a-n]*", "po*", "[!p]*")]
    found += [f"kernels:{which}" for which in ("blocks", "small", "large")]
    return [*found, "broken:capture"]


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

    if which == "blocks":
        yield from blocks()
        return
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


def blocks():
    """Scale and shift, their gradients, against autograd in float64."""
    import torch
    from torch.nn import functional

    from keras_pointpeft.ops.accelerators import torch_block

    def norm(x, a, b, gelu):
        y = functional.layer_norm(x, x.shape[-1:], a * 0 + 0.5, b * 0 + 0.1)
        return y * a + b

    def affine(x, a, b, gelu):
        y = x * a + b
        return functional.gelu(y) if gelu else y

    def fused_norm(x, a, b, gelu):
        gamma, beta = torch.full_like(a, 0.5), torch.full_like(b, 0.1)
        return torch_block.layer_norm_affine(x, gamma, beta, 1e-5, a, b)

    def fused_affine(x, a, b, gelu):
        way = torch_block.affine_gelu if gelu else torch_block.affine
        return way(x, a, b)

    ways = {"affine": (affine, fused_affine), "norm": (norm, fused_norm)}
    generator = torch.Generator("cuda").manual_seed(0)

    def draw(*size):
        return torch.randn(*size, generator=generator, device="cuda")

    # One more and one less than whole turns of the programs.
    for rows in (1, 15, 16, 17, 4128, 8191, 8192, 8193, 16512):
        for dim in (5, 128, 384, 1536):
            for kind, gelu, dtype in (
                ("affine", False, torch.float32),
                ("affine", True, torch.float32),
                ("affine", True, torch.bfloat16),
                ("norm", False, torch.float32),
            ):
                x, up = draw(rows, dim).to(dtype), draw(rows, dim).to(dtype)
                leaves = [x, draw(dim), draw(dim)]
                plain, fused = ways[kind]
                found = []
                for way, type_ in ((plain, torch.float64), (fused, None)):
                    own = [
                        (leaf if type_ is None else leaf.to(type_))
                        .detach()
                        .clone()
                        .requires_grad_()
                        for leaf in leaves
                    ]
                    y = way(*own, gelu)
                    y.backward(up.to(y.dtype))
                    found.append([y.detach(), *(leaf.grad for leaf in own)])
                worst = max(
                    float((a - b.double()).norm() / (a.norm() + 1e-6))
                    for a, b in zip(*found)
                )
                what = f"{kind} gelu={gelu} {rows} x {dim}, {dtype}"
                yield what, worst, 1e-2 if dtype == torch.bfloat16 else 1e-4


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


def run_here():
    """Runs the checks whose names come on stdin, and prints rows."""
    for check in sys.stdin:
        kind, _, name = check.strip().partition(":")
        try:
            for what, value, most in KINDS[kind](name):
                row = {"what": what, "value": float(value)}
                row["at_most"] = float(most)
                print("ROW " + json.dumps(row), flush=True)
        except Exception:
            last = traceback.format_exc().strip().splitlines()[-12:]
            row = {"what": "\n".join(last), "value": 1.0, "at_most": 0.0}
            print("ROW " + json.dumps(row), flush=True)
        print("DONE", flush=True)


class Worker:
    """A process that runs one check after the other.

    Importing libraries takes longer than most checks. After a failure there
    is another process: a GPU's error stays in the one that met it.
    """

    def __init__(self, log):
        self.log = log
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--here"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def run(self, check, seconds):
        """Yields rows as they come; one that failed if the process did."""
        if self.process is None:
            self.start()
        process, begin, count = self.process, time.monotonic(), 0
        killer = threading.Timer(seconds, process.kill)
        killer.start()
        try:
            process.stdin.write(check + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("ROW "):
                    row, count = json.loads(line[4:]), count + 1
                    yield row
                    # NaN is not right either.
                    if not row["value"] <= row["at_most"]:
                        self.process = None
                if line == "DONE\n":
                    break
            else:
                took = time.monotonic() - begin
                why = f"ended with status {process.wait()} after {took:.0f} s"
                if took >= seconds:
                    why = f"took over {seconds:.0f} s"
                yield {"what": why, "value": 1.0, "at_most": 0.0}
                self.process = None
                return
        except BrokenPipeError:
            self.process = None
            yield {"what": "did not start", "value": 1.0, "at_most": 0.0}
            return
        finally:
            killer.cancel()
            if self.process is None:
                process.kill()
        if not count:
            yield {"what": "nothing compared", "value": 1.0, "at_most": 0.0}

    def end(self):
        if self.process is not None:
            self.process.kill()


class Checks:
    """Takes checks from a list until the time is up, and keeps their rows."""

    def __init__(self, wanted, device, file):
        self.left = list(wanted)
        self.device = device
        self.file = file
        self.writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            self.writer.writeheader()
            file.flush()
        self.end = time.monotonic() + BUDGET.value
        self.rows = {}  # By check.
        self.seconds = {}
        self.workers = []
        self.lock = threading.Lock()

    def work(self):
        path = os.path.join(RESULTS.value, "checks.log")
        with open(path, "a", encoding="utf-8") as log:
            worker = Worker(log)
            self.workers.append(worker)
            while (check := self._next()) is not None:
                begin = time.monotonic()
                for row in worker.run(
                    check, min(SECONDS.value, self.end - begin)
                ):
                    self._keep(check, row)
                self.seconds[check] = time.monotonic() - begin
                print(self._line(check), flush=True)
            worker.end()

    def _next(self):
        with self.lock:
            if not self.left or time.monotonic() >= self.end:
                return None
            check = self.left.pop(0)
            self.rows[check] = []
            return check

    def _keep(self, check, row):
        right = row["value"] <= row["at_most"]
        row = {
            **row,
            "check": check,
            "state": "ok" if right else "FAIL",
            "device": self.device,
            "date": datetime.date.today().isoformat(),
        }
        with self.lock:
            self.rows[check].append(row)
            self.writer.writerow(row)
            self.file.flush()

    def failures(self):
        rows = [row for rows in self.rows.values() for row in rows]
        return [row for row in rows if row["state"] != "ok"]

    def _line(self, check):
        states = {row["state"] for row in self.rows[check]}
        state = "FAIL" if "FAIL" in states else "ok"
        return f"{check} {state}, {self.seconds[check]:.0f} s"

    def print(self):
        """The table, and what failed or was not run. The count of failures."""
        with self.lock:
            failures = self.failures()
            table = Table(title=f"Checks on {self.device}")
            for name in ("check", "compared", "worst", "seconds", "state"):
                table.add_column(name)
            for check, rows in self.rows.items():
                worst = max((row["value"] for row in rows), default=0)
                seconds = self.seconds.get(check)
                bad = any(row["state"] != "ok" for row in rows)
                state = "ok" if seconds is not None else "not finished"
                table.add_row(
                    check,
                    str(len(rows)),
                    f"{worst:.1e}",
                    "" if seconds is None else f"{seconds:.0f}",
                    "FAIL" if bad else state,
                )
            Console(width=100).print(table)
            for row in failures:
                print(f"FAIL {row['check']} {row['value']:.3g}: {row['what']}")
            if self.left:
                print(f"Not run, for lack of time: {', '.join(self.left)}")
            print(
                f"{len(self.rows)} checks, {len(failures)} failures, "
                f"{len(self.left)} not run",
                flush=True,
            )
            return len(failures) + len(self.left)


def main(_):
    if HERE.value:
        run_here()
        return
    import torch

    device = "no GPU"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    wanted = [
        name
        for name in names()
        if any(fnmatch.fnmatch(name, pattern) for pattern in ONLY.value)
    ]
    os.makedirs(RESULTS.value, exist_ok=True)
    path = os.path.join(RESULTS.value, "checks.csv")
    with open(path, "a", newline="", encoding="utf-8") as file:
        checks = Checks(wanted, device, file)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        # Daemons, for which the end of the script does not wait.
        threads = [
            threading.Thread(target=checks.work, daemon=True)
            for _ in range(min(JOBS.value, len(wanted)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            wrong = checks.print()
            for worker in checks.workers:
                worker.end()
    sys.exit(bool(wrong))


if __name__ == "__main__":
    app.run(main)
