#!/usr/bin/env bash
# Point-MAE in its full size: pre-trained on procedural clouds, the clean shapes
# and random programs, then fine-tuned by five methods on the scans, and on own
# clouds in ScanObjectNN's h5 layout. Nothing is downloaded. Meant for one GPU;
# it has not been run on one yet, but in a reduced size on a CPU.
#
#     SETS="psb69=DIR dales5=DIR" bash scripts/full_size.sh
#
# Stops after LIMIT with exit status 124; the same command then goes on where it
# stopped, until it ends with status 0. Accuracy, trained parameters, time and
# memory of the runs are then in zoo/results/compared/pointmae_shapes.csv, the
# peak of DAPT's memory against full fine-tuning's in zoo/results/benchmark.csv.
#
# All sizes below can be given as variables of the environment.
set -euo pipefail
cd "$(dirname "$0")/.."
export KERAS_BACKEND=${KERAS_BACKEND:-torch}

LIMIT=${LIMIT:-9m}
if [ "${1:-}" != inside ]; then
    status=0
    timeout "$LIMIT" bash scripts/full_size.sh inside || status=$?
    [ $status -ne 124 ] || echo "Stopped after $LIMIT: call it again."
    exit $status
fi

BACKBONE=${BACKBONE:-pointmae}
# Whose recipe is used, and its number of points.
DATASET=${DATASET:-modelnet40}
POINTS=${POINTS:-1024}
CLOUDS=${CLOUDS:-10000}
PRETRAIN_EPOCHS=${PRETRAIN_EPOCHS:-100}
PRETRAIN_BATCH=${PRETRAIN_BATCH:-128}
METHODS=${METHODS:-full,linear,dapt,pointpeft,lora}
# Own clouds, NAME=DIR with spaces between them.
SETS=${SETS:-}
EPOCHS=${EPOCHS:-50}
SEEDS=${SEEDS:-0}
# Further flags of scripts/compare.py, such as "--limit=40 --batch_size=8".
COMPARE=${COMPARE:-}
# Measured last, if they are not empty.
BENCHMARKS=${BENCHMARKS-dapt_memory,dapt_memory_lean}
WORK=${WORK:-runs/full_size}
RESULTS=${RESULTS:-zoo/results}

if [ ! -d "$WORK/pretrained/backbone" ]; then
    python scripts/pretrain.py --backbone="$BACKBONE" --data=both \
        --num_clouds="$CLOUDS" --num_points="$POINTS" \
        --stored_points="$POINTS" --batch_size="$PRETRAIN_BATCH" \
        --epochs="$PRETRAIN_EPOCHS" --warmup=$((PRETRAIN_EPOCHS / 10)) \
        --output="$WORK/pretrained"
fi
compare() {  # NAME and flags that say which clouds
    # shellcheck disable=SC2086
    python scripts/compare.py --backbone="$WORK/pretrained/backbone" \
        --dataset="$DATASET" --methods="$METHODS" --seeds="$SEEDS" \
        --epochs="$EPOCHS" --states="$WORK/states/$1" \
        --output="$RESULTS/compared" --name="${BACKBONE}_$1" "${@:2}" $COMPARE
}
compare shapes --loader=shapes
for set in $SETS; do
    compare "${set%%=*}" --loader=h5 --data="${set#*=}"
done
if [ -n "$BENCHMARKS" ] && [ ! -f "$WORK/benchmarked" ]; then
    python scripts/benchmark/run.py --benchmarks="$BENCHMARKS" \
        --results="$RESULTS/benchmark.csv"
    touch "$WORK/benchmarked"
fi
