#!/usr/bin/env bash
# What each stage does to a model, measured: pretraining, then fine-tuning whole or by an adapter, then DPO, with a dense
# model and with a mixture of experts of the same width. docs/stages.md explains the table that it prints.
#
#   scripts/stages.sh [DIR]   writes everything below DIR (default: runs/stages); needs make build; shares downloaded packages
#                             with make demo. About half an hour on two cores.
#
# What is there already is kept, so a run that was stopped goes on. The seed is fixed.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-runs/stages}
packages=${PACKAGES:-demo/packages}
minimind=.build/release/minimind
[ -x "$minimind" ] || { echo "stages: $minimind is not built. Run make build." >&2; exit 1; }
mkdir -p "$runs"

# make_once OUTPUT COMMAND… runs a command whose result is OUTPUT, unless that is there.
make_once() {
  local output=$1
  shift
  [ -e "$output" ] || "$@"
}
# train NAME COMMAND ARGUMENT… trains a run to its end, or goes on with one.
train() {
  local run=$runs/$1
  shift
  [ -e "$run/finished" ] && return
  if [ -e "$run" ]; then "$minimind" "$1" --resume "$run"; else "$minimind" "$@" --output "$run" --seed 1; fi
  touch "$run/finished"
}

make_once "$runs/text" python3 scripts/extract_corpora.py --set large --cache "$packages" --output "$runs/text"
make_once "$runs/tokenizer" "$minimind" tokenizer train --input "$runs/text/train.jsonl" --output "$runs/tokenizer"
for kind in pretrain:train sft:questions dpo:preferences; do
  make_once "$runs/${kind%:*}-data" "$minimind" data "${kind%:*}" --input "$runs/text/${kind#*:}.jsonl" \
    --tokenizer "$runs/tokenizer" --output "$runs/${kind%:*}-data"
done

# `tiny` with four experts in the place of its feed-forward block, two a token, and one that all tokens pass.
cat > "$runs/mixture.json" <<'END'
{"architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "vocab_size": 6400, "hidden_size": 256,
 "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4, "moe_intermediate_size": 704,
 "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1, "moe_layer_start_index": 0, "moe_layer_end_index": -1,
 "router_aux_loss_coef": 0.01, "rope_theta": 10000, "max_position_embeddings": 512, "tie_word_embeddings": true,
 "bos_token_id": 1, "eos_token_id": 2}
END

for model in tiny mixture; do
  configuration=$model
  [ "$model" = mixture ] && configuration=$runs/mixture.json
  train "$model-pretrain" pretrain --model "$configuration" --data "$runs/pretrain-data"
  train "$model-sft" sft --from "$runs/$model-pretrain" --data "$runs/sft-data"
  train "$model-lora" lora --from "$runs/$model-pretrain" --data "$runs/sft-data"
  train "$model-dpo" dpo --from "$runs/$model-sft" --data "$runs/dpo-data"
  train "$model-dpo-lora" dpo --from "$runs/$model-sft" --data "$runs/dpo-data" --lora-rank 8 --learning-rate 1e-3
done

MINIMIND=$minimind python3 scripts/stages_table.py "$runs"
