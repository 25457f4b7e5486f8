#!/usr/bin/env bash
# Makes or completes a Python virtual environment; with nothing to do it returns at once.
#
#   scripts/python_environment.sh .venv scripts/requirements-test.txt
#   scripts/python_environment.sh .venv-interop scripts/requirements-interop.txt --torch
#   scripts/python_environment.sh .venv-plugin scripts/requirements-plugin.txt --no-deps
set -euo pipefail

directory=$1 requirements=$2 extra=${3:-}
stamp=$directory/.installed
wanted=$(cat "$requirements"; echo "$extra")
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

[ -x "$directory/bin/python" ] || python3 -m venv "$directory"
pip() { "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@" </dev/null; }
if [ "$extra" = --torch ]; then
  echo "python: installing PyTorch into $directory (large)"
  # The build without GPU support is a tenth of the size, but not every index carries it.
  pip "torch==2.13.0+cpu" 2>/dev/null || pip "torch==2.13.0"
fi
echo "python: installing $requirements into $directory"
# A plugin whose file alone is used does without the packages that its Python needs.
if [ "$extra" = --no-deps ]; then pip --no-deps --requirement "$requirements"; else pip --requirement "$requirements"; fi
printf '%s\n' "$wanted" >"$stamp"
