#!/usr/bin/env bash
# Puts llama.cpp's collection of chat templates into a Python environment, for Tests/Interop/test_templates.py.
#
#   scripts/chat_templates.sh .venv-interop
#
# They come inside the source of llama-cpp-python, in the version of scripts/requirements-peers.txt (74 MiB, of which 0.5 MiB
# are kept).
set -euo pipefail

exec scripts/package_source.sh "$1" llama-cpp-python "$(sed -n 's/^llama-cpp-python.*==//p' scripts/requirements-peers.txt)" \
  832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e chat-templates 5 '*/vendor/llama.cpp/models/templates/*.jinja'
