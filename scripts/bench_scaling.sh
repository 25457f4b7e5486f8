#!/usr/bin/env bash
# Measures training by several processes: on this machine's cores, and over network links of 1 and 10 Gbit/s.
#
#   scripts/bench_scaling.sh [MODEL [STEPS [CASE…]]]      small, 4 steps, all cases
#
# A case is PROCESSESxTHREADS for this machine (1x2 2x1 4x1), or PROCESSES@RATE for as many network namespaces, each a
# machine to Open MPI, whose links the kernel shapes to a rate (2@1gbit 2@10gbit 4@1gbit); these need root. Text is the
# project's own. Prints, as medians over the steps but the first: seconds a step, tokens/s, MiB that the first process sends,
# seconds that the exchange lasts, the share that computing hides, and peak memory and moments of the first process.
set -euo pipefail
cd "$(dirname "$0")/.."

model=${1:-small}
steps=${2:-4}
cases=("${@:3}")
[ ${#cases[@]} -gt 0 ] || cases=(1x2 2x1 4x1 1x1 2@1gbit 2@10gbit 4@1gbit 4@10gbit)
binary=${MINIMIND:-$PWD/.build/release/minimind}
work=$(mktemp -d)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

namespaces=0
remove_namespaces() {
  for ((i = 1; i <= namespaces; i++)); do ip netns del "minimind$i" 2>/dev/null || true; done
  if [ "$namespaces" -gt 0 ]; then ip netns del minimindswitch 2>/dev/null || true; fi
  namespaces=0
}
trap 'remove_namespaces; rm -rf "$work"' EXIT

# As many namespaces, joined by a bridge in one more; what each sends is limited to the rate.
make_namespaces() { # count rate
  namespaces=$1
  ip netns add minimindswitch
  ip netns exec minimindswitch ip link add bridge type bridge
  ip netns exec minimindswitch ip link set bridge up
  for ((i = 1; i <= $1; i++)); do
    ip netns add "minimind$i"
    ip link add net netns "minimind$i" type veth peer name "port$i" netns minimindswitch
    ip netns exec minimindswitch ip link set "port$i" master bridge up
    ip netns exec "minimind$i" ip link set lo up
    ip netns exec "minimind$i" ip addr add "10.77.0.$i/24" dev net
    ip netns exec "minimind$i" ip link set net up
    ip netns exec "minimind$i" tc qdisc add dev net root tbf rate "$2" burst 256kb latency 50ms
  done
  # What mpirun calls instead of ssh.
  cat >"$work/agent" <<'AGENT'
#!/usr/bin/env bash
number=${1##*.}
shift
exec ip netns exec "minimind$number" unshare --uts bash -c "hostname node$number; $*"
AGENT
  chmod +x "$work/agent"
}

cat docs/*.md Sources/*/*.swift >"$work/text.txt"
"$binary" tokenizer train --input "$work/text.txt" --output "$work/tokenizer" --vocab-size 6400 >"$work/log" 2>&1
"$binary" data pretrain --input "$work/text.txt" --whole-files --tokenizer "$work/tokenizer" --output "$work/data" \
  >"$work/log" 2>&1

printf '%-10s %8s %9s %8s %9s %7s %9s %9s\n' case s/step tokens/s MiB/step exchange hidden peak moments
for case in "${cases[@]}"; do
  run=$work/run
  rm -rf "$run"
  count=${case%%[x@]*}
  training=("$binary" pretrain --model "$model" --data "$work/data" --output "$run" --steps "$steps" --batch-tokens 16384
    --micro-batch-tokens 2048 --sequence-length 512 --eval-interval 1000000 --checkpoint-interval 1000000 --eval-tokens 1)
  case $case in
    1x*) "${training[@]}" --threads "${case#*x}" ;;
    *x*) mpirun --oversubscribe --bind-to none -np "$count" "${training[@]}" --threads "${case#*x}" ;;
    *@*)
      make_namespaces "$count" "${case#*@}"
      hosts=$(for ((i = 1; i <= count; i++)); do printf '10.77.0.%d:1,' "$i"; done)
      ip netns exec minimind1 unshare --uts bash -c 'hostname node1; exec "$@"' - \
        mpirun --host "${hosts%,}" -np "$count" --bind-to none --mca plm_rsh_agent "$work/agent" \
        --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
        "${training[@]}" --threads 1
      ;;
  esac >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  if [ "$namespaces" -gt 0 ]; then remove_namespaces; fi
  moments=$(sed -nE 's/.*of which moments ([0-9.]+ ([KMG]i)?B).*/\1/p' "$work/log" | tail -n 1)
  python3 - "$case" "$run/metrics.jsonl" "$moments" <<'PYTHON'
import json, statistics, sys
case, path, moments = sys.argv[1:]
rows = [json.loads(line) for line in open(path)]
rows = [row for row in rows if "train/tokens_per_second" in row]
tokens = [b["train/tokens"] - a["train/tokens"] for a, b in zip(rows, rows[1:])]
rows = rows[1:] or rows
def median(key): return statistics.median(row.get(key, 0) for row in rows)
rate = median("train/tokens_per_second")
print(f"{case:10} {statistics.median(tokens or [0]) / rate:8.3f} {rate:9.0f} {median('train/exchange_bytes') / 2**20:8.1f} "
      f"{median('train/exchange_seconds'):9.3f} {median('train/exchange_hidden_share'):7.2f} "
      f"{median('train/peak_memory_bytes') / 2**20:6.0f} MiB {moments:>9}", flush=True)
PYTHON
done
