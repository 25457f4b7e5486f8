#!/usr/bin/env bash
# From nothing to a model that answers questions about pictures: draws scenes of coloured shapes, trains a vision tower and a tiny
# language model on them together, asks about scenes that it never saw.
#
#   make demo-vision               builds what is missing, then runs this
#   scripts/demo_vision.sh [DIR]   writes everything below DIR (default: demo-vision); starts from nothing each time
#
# Nothing is downloaded. The seed is fixed. In the environment, SCENES says how many pictures are drawn, EPOCHS how often they are
# shown.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=${1:-demo-vision}
minimind=${MINIMIND:-.build/release/minimind}
[ -x "$minimind" ] || { echo "demo-vision: $minimind is not built. Run make demo-vision." >&2; exit 1; }

start=$SECONDS
step() {
  stage=$((${stage:-0} + 1))
  printf '\n[%d/5] %s (%d:%02d so far)\n' "$stage" "$1" $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60))
}

step "Drawing pictures, with questions in English and Chinese"
rm -rf "$demo"/{scenes,text.txt,tokenizer,text-data,text,data,model}
mkdir -p "$demo"
"$minimind" data scenes --count "${SCENES:-8000}" --held-out-count 300 --seed 1 --output "$demo/scenes"

step "Training a tokenizer and turning pictures and questions into tokens"
python3 - "$demo" <<'END'
import json, pathlib, sys
demo = pathlib.Path(sys.argv[1])
with open(demo / "text.txt", "w") as text:
    for line in open(demo / "scenes/train.jsonl"):
        for message in json.loads(line)["conversations"]:
            text.write(message["content"].replace("<image>", "").strip() + "\n")
END
"$minimind" tokenizer train --input "$demo/text.txt" --vocab-size 600 --template minimind-3 --output "$demo/tokenizer"
"$minimind" data pretrain --input "$demo/text.txt" --tokenizer "$demo/tokenizer" --output "$demo/text-data"
"$minimind" data sft --input "$demo/scenes/train.jsonl" --tokenizer "$demo/tokenizer" --picture-size 64 --picture-tokens 64 \
  --picture-token "<|image_pad|>" --output "$demo/data"

step "Pretraining a tiny language model, which does not see yet"
"$minimind" pretrain --model tiny --data "$demo/text-data" --steps 100 --seed 1 --output "$demo/text"

step "Teaching it to see: a tower with random weights, a projector and the language model learn together"
"$minimind" sft --from "$demo/text" --tower new --data "$demo/data" --epochs "${EPOCHS:-6}" --learning-rate 1e-3 --seed 1 \
  --output "$demo/model"

step "Asking about pictures that it never saw"
"$minimind" eval pictures --model "$demo/model" --data "$demo/scenes/held-out.jsonl"

cat <<END

Done in $(((SECONDS - start) / 60)):$(printf %02d $(((SECONDS - start) % 60))).

Ask it about a picture:
  $minimind generate --model $demo/model --image $demo/scenes/images/held-out-000001.png --prompt "What is in the picture?"
  $minimind serve --model $demo/model        then drop a picture onto the page
END
