#!/usr/bin/env bash
# Measures what a model learns from its own answers: `tiny`, pretrained on the tasks' text and fine-tuned on their form, then
# GRPO, and how many held-out tasks each model answers right.
#
#   scripts/learning.sh [DIR [SEED…]]   writes everything below DIR (default: runs/learning), for the seeds 1 2 3 unless
#                                       others are given; needs make build. Nothing is downloaded.
#
# What is there already is kept, so a run that was stopped goes on. In the environment, TASKS names the kinds of tasks, EPOCHS
# how often the form is shown (so that the model is between 20 and 60%), STEPS and RATE the steps of GRPO and their rate.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-runs/learning}
seeds=(1 2 3)
[ $# -gt 1 ] && seeds=("${@:2}")
minimind=${MINIMIND:-.build/release/minimind}
[ -x "$minimind" ] || { echo "learning: $minimind is not built. Run make build." >&2; exit 1; }
read -ra tasks <<<"${TASKS:-addition letters}"
mkdir -p "$runs"

# make_once OUTPUT COMMAND… runs a command whose result is OUTPUT, unless that is there.
make_once() {
  local output=$1
  shift
  [ -e "$output" ] || "$@"
}
# train RUN COMMAND ARGUMENT… trains a run to its end, or goes on with one.
train() {
  local run=$1
  shift
  [ -e "$run/finished" ] && return
  if [ -e "$run" ]; then "$minimind" "$1" --resume "$run"; else "$minimind" "$@" --output "$run"; fi
  touch "$run/finished"
}

make_once "$runs/tasks" "$minimind" data tasks --tasks "${tasks[@]}" --language en --count 4000 --held-out-count 300 \
  --output "$runs/tasks"
# The questions and answers as plain text, for the tokenizer and for pretraining.
make_once "$runs/text.txt" python3 - "$runs" <<'END'
import json, pathlib, sys
runs = pathlib.Path(sys.argv[1])
rows = map(json.loads, (runs / "tasks/train.jsonl").read_text().splitlines())
(runs / "text.txt").write_text("".join(" ".join(m["content"] for m in row["messages"]) + "\n" for row in rows))
END
make_once "$runs/tokenizer" "$minimind" tokenizer train --input "$runs/text.txt" --vocab-size 400 --output "$runs/tokenizer"
make_once "$runs/pretrain-data" "$minimind" data pretrain --input "$runs/text.txt" --tokenizer "$runs/tokenizer" \
  --output "$runs/pretrain-data"
for kind in sft grpo; do
  make_once "$runs/$kind-data" "$minimind" data "$kind" --input "$runs/tasks/train.jsonl" --tokenizer "$runs/tokenizer" \
    --output "$runs/$kind-data"
done

for seed in "${seeds[@]}"; do
  train "$runs/pretrain-$seed" pretrain --model tiny --data "$runs/pretrain-data" --epochs 4 --batch-tokens 4096 --seed "$seed"
  train "$runs/sft-$seed" sft --from "$runs/pretrain-$seed" --data "$runs/sft-data" --epochs "${EPOCHS:-2}" --seed "$seed"
  train "$runs/grpo-$seed" grpo --from "$runs/sft-$seed" --data "$runs/grpo-data" --steps "${STEPS:-150}" \
    --prompts-per-step 32 --answers 8 --answer-tokens 40 --learning-rate "${RATE:-3e-5}" --seed "$seed"
  for model in sft grpo; do
    echo "seed $seed, after $model:"
    "$minimind" eval tasks --model "$runs/$model-$seed" --data "$runs/tasks/held-out.jsonl" --max-tokens 40
  done
done
