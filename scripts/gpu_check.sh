#!/usr/bin/env bash
# What only a GPU can show, in at most six minutes, on any machine with one:
#
#     bash scripts/gpu_check.sh
#
# Kernels against their definitions, the recorded cases, every method's step as
# a graph against the same step without one; the rows of the benchmarks; and a
# short training in the full size, which is stopped and goes on. Rows with the
# name of the card are written to RESULTS as they come, and a short table is
# printed last, also when time is up. PARTS chooses: "check", "benchmark",
# "train". Exit status 0 if all that was checked is right.
set -uo pipefail
cd "$(dirname "$0")/.."
export KERAS_BACKEND=torch PYTHONUNBUFFERED=1
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

RESULTS=${RESULTS:-runs/gpu_check}
PARTS=${PARTS:-check benchmark train}
# Which checks, as file patterns of their names with commas between: ONLY.
# Processes that check at the same time, seconds that one check may take, and
# all of them: then no more begin, and the table says what was not run.
JOBS=${JOBS:-6}
CASE_SECONDS=${CASE_SECONDS:-100}
CHECK_SECONDS=${CHECK_SECONDS:-140}
BENCHMARKS=${BENCHMARKS:-dapt_step_gpu,dapt_step_gpu_bfloat16,dapt_step_gpu_bfloat16_128,full_step_gpu,dapt_against_full,pointpeft_against_full,dapt_memory,dapt_memory_lean,fit_epoch,sampling_grouping_gpu}
BENCHMARK_SECONDS=${BENCHMARK_SECONDS:-125}
TRAIN_SECONDS=${TRAIN_SECONDS:-40}

if ! python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"
then
    echo "There is no GPU that PyTorch can use, so nothing was checked."
    exit 3
fi
mkdir -p "$RESULTS"
status=0
for part in $PARTS; do
    case $part in
    check)
        python scripts/gpu_check.py --results="$RESULTS" --jobs="$JOBS" --only="${ONLY:-*}" \
            --seconds="$CASE_SECONDS" --budget="$CHECK_SECONDS" || status=1
        ;;
    benchmark)
        timeout "$BENCHMARK_SECONDS" python scripts/benchmark/run.py \
            --benchmarks="$BENCHMARKS" --results="$RESULTS/benchmark.csv" ||
            { echo "The benchmarks ended with status $?"; status=1; }
        ;;
    train)
        # Twice: the second call goes on where the first was stopped.
        for turn in first second; do
            WORK="$RESULTS/full_size" RESULTS="$RESULTS" BENCHMARKS="" \
                LIMIT="${TRAIN_SECONDS}s" bash scripts/full_size.sh \
                >"$RESULTS/train_$turn.log" 2>&1
            echo "The $turn training ended with status $?" \
                "(124: stopped, the next call goes on)"
            tail -n 4 "$RESULTS/train_$turn.log"
        done
        ;;
    esac
done
exit $status
