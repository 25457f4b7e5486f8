#!/usr/bin/env bash
# Makes a Python environment with NVIDIA's plugin of PJRT and the libraries that it calls, and tries it.
#
#   scripts/gpu_setup.sh [DIRECTORY]        default: .venv-gpu
#
# Says first how much there is to download. May be run any number of times. What it needs of the machine is Linux on x86-64 or
# arm64, Python 3.11 or newer, and NVIDIA's driver, 580 or newer. An installed JAX (pip install 'jax[cuda13]') does as well.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=${1:-.venv-gpu}
requirements=scripts/requirements-gpu.txt
binary=${MINIMIND:-.build/release/minimind}
[ -x "$binary" ] || { echo "gpu: $binary is not built. Run make build first." >&2; exit 1; }

if ! { [ -f "$directory/.installed" ] && [ "$(cat "$directory/.installed")" = "$(cat "$requirements"; echo)" ]; }; then
  [ -x "$directory/bin/python" ] || python3 -m venv "$directory"
  echo "gpu: asking what is to be downloaded"
  scripts/download_size.py "$directory/bin/python" "$requirements"
  scripts/python_environment.sh "$directory" "$requirements"
fi

plugin=$(compgen -G "$PWD/$directory/lib/python3*/site-packages/jax_plugins/xla_cuda13/xla_cuda_plugin.so" || true)
[ -n "$plugin" ] || { echo "gpu: there is no plugin in $directory. Remove it and run this again." >&2; exit 1; }
echo "gpu: the plugin is $plugin"
echo "gpu: use it with: export MINIMIND_PJRT_PLUGIN=$plugin"

# A test of the whole way, from the driver to a step of training.
if ! [ -e /dev/nvidiactl ] && ! command -v nvidia-smi >/dev/null; then
  echo "gpu: this machine has no driver of NVIDIA's, so no GPU can be used here. What a card would need: make gpu-plan"
  exit 0
fi
export MINIMIND_PJRT_PLUGIN=$plugin
"$binary" info | tail -n 1
"$binary" bench train --device gpu --model tiny --batch-tokens 4096 --micro-batch-tokens 4096 --steps 3
echo "gpu: ready. To measure it: scripts/gpu_check.sh"
