#!/usr/bin/env bash
# Measures what a model learns from its own answers: `tiny`, pretrained on some tasks with their answers as text and fine-tuned on
# the same, so that it answers some tasks right; then GRPO on all training tasks of one kind, and how many held-out tasks each model
# answers right.
#
#   scripts/learning.sh [DIR [SEED…]]   writes everything below DIR (default: runs/learning), for the seeds 1 2 3 unless
#                                       others are given; needs make build. Nothing is downloaded.
#
# What is there already is kept, so a run that was stopped goes on. Pretraining is the same for all seeds. In the environment: TASKS
# names the kinds that are shown with their answers, LEARN the one that GRPO is about, EPOCHS says how often fine-tuning shows the
# answers, STEPS and RATE are those of GRPO, and REWARD=v1 takes MiniMind's rewards (scripts/v1_reward.py) in place of the right
# answer.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-runs/learning}
seeds=(1 2 3)
[ $# -gt 1 ] && seeds=("${@:2}")
minimind=${MINIMIND:-.build/release/minimind}
[ -x "$minimind" ] || { echo "learning: $minimind is not built. Run make build." >&2; exit 1; }
read -ra tasks <<<"${TASKS:-addition letters}"
learn=${LEARN:-addition}
name=grpo reward=()
if [ "${REWARD:-check}" = v1 ]; then
  name=v1 reward=(--reward check=0 --reward-command "python3 scripts/v1_reward.py")
fi
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

make_once "$runs/tasks" "$minimind" data tasks --tasks "${tasks[@]}" --language en --count 4000 --held-out-count 200 \
  --output "$runs/tasks"
# The first 2000 tasks with their answers, as conversations and as text; and the tasks that are to be learned.
make_once "$runs/$learn.jsonl" python3 - "$runs" "$learn" <<'END'
import json, pathlib, sys
runs, learn = pathlib.Path(sys.argv[1]), sys.argv[2]
lines = (runs / "tasks/train.jsonl").read_text().splitlines()
rows = [json.loads(line) for line in lines]
(runs / "forms.txt").write_text("".join(" ".join(m["content"] for m in row["messages"]) + "\n" for row in rows[:2000]))
(runs / "forms.jsonl").write_text("".join(line + "\n" for line in lines[:2000]))
(runs / f"{learn}.jsonl").write_text("".join(line + "\n" for line, row in zip(lines, rows) if row["task"] == learn))
END
# Each digit is a token.
make_once "$runs/tokenizer" "$minimind" tokenizer train --input "$runs/forms.txt" --vocab-size 320 --split qwen2 \
  --output "$runs/tokenizer"
make_once "$runs/pretrain-data" "$minimind" data pretrain --input "$runs/forms.txt" --tokenizer "$runs/tokenizer" \
  --output "$runs/pretrain-data"
make_once "$runs/sft-data" "$minimind" data sft --input "$runs/forms.jsonl" --tokenizer "$runs/tokenizer" --output "$runs/sft-data"
make_once "$runs/$learn-data" "$minimind" data grpo --input "$runs/$learn.jsonl" --tokenizer "$runs/tokenizer" \
  --output "$runs/$learn-data"

train "$runs/pretrain" pretrain --model tiny --data "$runs/pretrain-data" --epochs 6 --batch-tokens 2048 --seed 1
for seed in "${seeds[@]}"; do
  train "$runs/sft-$seed" sft --from "$runs/pretrain" --data "$runs/sft-data" --epochs "${EPOCHS:-3}" --batch-tokens 2048 \
    --seed "$seed"
  # Adam's first steps go as far in every weight as the rate says, whatever the gradient's size: without a warm-up they undo
  # what the model knows.
  train "$runs/$name-$seed" grpo --from "$runs/sft-$seed" --data "$runs/$learn-data" --steps "${STEPS:-120}" \
    --prompts-per-step 64 --answers 8 --answer-tokens 16 --learning-rate "${RATE:-3e-5}" --warmup-steps 10 --beta2 0.99 \
    --schedule constant --weight-decay 0 --eval-interval 20 --seed "$seed" ${reward[@]+"${reward[@]}"}
  for model in "sft-$seed" "$name-$seed"; do
    echo "$model:"
    "$minimind" eval tasks --model "$runs/$model" --data "$runs/tasks/held-out.jsonl" --max-tokens 40
  done
done
