#!/usr/bin/env bash
# A model that sees, from nothing: draws pictures, trains a tiny model to read them, and asks it about others that it never saw.
#
#   make demo-vision               builds what is missing, then runs this
#   scripts/demo_vision.sh [DIR]   writes everything below DIR (default: demo-vision); starts from nothing each time
#
# Nothing is downloaded. The seed is fixed: the same machine makes the same model on every run; SEED=2 makes another one.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=${1:-demo-vision}
seed=${SEED:-1}
minimind=${MINIMIND:-.build/release/minimind}
[ -x "$minimind" ] || { echo "demo-vision: $minimind is not built. Run make demo-vision." >&2; exit 1; }

source scripts/steps.sh 5

step "Drawing pictures of coloured shapes, with texts and questions in English and Chinese"
rm -rf "$demo"/{scenes,tokenizer,squares-data,captions-data,questions-data,squares,captions,chat,answers.svg}
mkdir -p "$demo"
"$minimind" data scenes --count 8000 --output "$demo/scenes" --seed "$seed"
"$minimind" tokenizer train --input "$demo/scenes/words.txt" --vocab-size 640 --template minimind-3 --split qwen2 \
  --output "$demo/tokenizer"

step "Learning to read pictures square by square"
"$minimind" data pretrain --input "$demo/scenes/squares.jsonl" --tokenizer "$demo/tokenizer" --picture-size 64 --picture-tokens 16 \
  --output "$demo/squares-data"
# The tower keeps its random weights: what it makes of a square is a code that the language model learns to read.
"$minimind" pretrain --model tiny --tower new --data "$demo/squares-data" --output "$demo/squares" --steps 900 \
  --batch-tokens 1024 --schedule constant --optimizer muon --learning-rate 3e-3 --seed "$seed"

step "Learning to find in what it has read"
"$minimind" data pretrain --input "$demo/scenes/captions.jsonl" --tokenizer "$demo/tokenizer" --sight "$demo/squares" \
  --picture-features bf16 --output "$demo/captions-data"
"$minimind" pretrain --from "$demo/squares" --train all-but-tower --data "$demo/captions-data" --output "$demo/captions" \
  --steps 2400 --batch-tokens 1024 --schedule wsd --optimizer muon --learning-rate 3e-3 --seed "$seed"

step "Learning to answer"
"$minimind" data sft --input "$demo/scenes/train.jsonl" --tokenizer "$demo/tokenizer" --sight "$demo/squares" \
  --picture-features bf16 --output "$demo/questions-data"
"$minimind" sft --from "$demo/captions" --data "$demo/questions-data" --output "$demo/chat" \
  --steps 800 --batch-tokens 1024 --optimizer muon --learning-rate 2e-3 --seed "$seed"

step "Asking it about pictures that it never saw"
"$minimind" eval pictures --model "$demo/chat" --data "$demo/scenes/held-out.jsonl" --sheet "$demo/answers.svg"

cat <<END

Done in $(so_far). Some of its answers, with their pictures: $demo/answers.svg

Ask it yourself:
  $minimind generate --model $demo/chat --image $demo/scenes/images/held-out-000001.png --prompt "How many objects are there?"
  $minimind chat --model $demo/chat        then: /image $demo/scenes/images/held-out-000002.png
END
