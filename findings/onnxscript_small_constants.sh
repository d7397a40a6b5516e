#!/usr/bin/env bash
# onnxscript 0.7.2, `optimizer.optimize`, which torch.onnx.export calls by
# default: a sum with a constant of up to 1e-8 is taken for a sum with 0 and
# removed, and a product with one that is within 1e-5 of 1 likewise. Small
# constants are there to keep a logarithm or a quotient finite. No warning.
# Right would be to remove exactly 0 and 1. Seen: log(x + 1e-8) of 0 is -18.4
# before and minus infinity after, x * 1.000005 of 1000 is 1000.005 and 1000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" \
    "onnxscript==0.7.2" "onnx==1.23.2" "onnx-ir==1.1.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import numpy as np
import onnx
import onnxscript
from onnx.reference import ReferenceEvaluator

MODEL = """<ir_version: 10, opset_import: ["": 20]>
graph (float[2] x) => (float[2] logarithm, float[2] product) {
    small = Constant<value_float: float = 1e-8>()
    near_one = Constant<value_float: float = 1.000005>()
    positive = Add(x, small)
    logarithm = Log(positive)
    scaled = Mul(x, near_one)
    product = Neg(scaled)
}"""
given = onnx.parser.parse_model(MODEL)
onnx.checker.check_model(given)
optimized = onnxscript.optimizer.optimize(given)
found = []
for model in (given, optimized):
    names = [node.op_type for node in model.graph.node]
    x = np.array([0, 1000], "float32")
    with np.errstate(divide="ignore"):
        logarithm, product = ReferenceEvaluator(model).run(None, {"x": x})
    print(onnxscript.__version__, names, logarithm, product)
    found.append((round(float(logarithm[0]), 1), round(float(product[1]), 3)))
assert found[0] == (-18.4, -1000.005), "it has changed"
assert found[1] == (-np.inf, -1000.0), "right would be the same: it has changed"
PYTHON
