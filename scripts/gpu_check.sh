#!/usr/bin/env bash
# Measures a GPU in at most ten minutes: is it right, how fast is it, does a run repeat itself? For anyone who has one.
#
#   scripts/gpu_check.sh [options of scripts/gpu_check.py]
#
# Needs `make build`, a plugin (MINIMIND_PJRT_PLUGIN, `make gpu`, or an installed JAX), and for the race a Python with PyTorch
# and transformers: the one that PEER_PYTHON names, .venv-interop's, or python3. Writes bench/gpu.json and bench/gpu.md. Please
# send them to the project: it has no figures from a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${MINIMIND_PJRT_PLUGIN:-}" ]; then
  installed=$(compgen -G "$PWD/.venv-gpu/lib/python3*/site-packages/jax_plugins/xla_cuda13/xla_cuda_plugin.so" || true)
  if [ -n "$installed" ]; then export MINIMIND_PJRT_PLUGIN=$installed; fi
fi
if [ -z "${PEER_PYTHON:-}" ]; then
  PEER_PYTHON=python3
  if [ -x .venv-interop/bin/python ]; then PEER_PYTHON=.venv-interop/bin/python; fi
fi
exec python3 scripts/gpu_check.py --peer-python "$PEER_PYTHON" "$@"
