#!/usr/bin/env bash
# Puts a part of llama.cpp's source into a Python environment. It comes inside the source of llama-cpp-python (74 MiB), in
# the version of scripts/requirements-peers.txt.
#
#   scripts/llama_cpp_source.sh .venv-peers llama.cpp 3 '*/vendor/llama.cpp/*'
#
# The arguments after the environment are those of scripts/package_source.sh.
set -euo pipefail

exec scripts/package_source.sh "$1" llama-cpp-python "$(sed -n 's/^llama-cpp-python.*==//p' scripts/requirements-peers.txt)" \
  832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e "${@:2}"
