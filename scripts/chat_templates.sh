#!/usr/bin/env bash
# Puts llama.cpp's collection of chat templates into a Python environment, for Tests/Interop/test_templates.py; with nothing
# to do it returns at once.
#
#   scripts/chat_templates.sh .venv-interop
#
# They come inside the source of llama-cpp-python, in the version of scripts/requirements-peers.txt (77 MB, of which 0.5 MB
# are kept).
set -euo pipefail

environment=$1
version=$(sed -n 's/^llama-cpp-python.*==//p' scripts/requirements-peers.txt)
hash=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
templates=$environment/chat-templates
stamp=$templates/.version
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ]; then exit 0; fi

echo "templates: fetching the source of llama-cpp-python $version (large)"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
# The hash stands in a file of requirements, the one place where pip reads it.
echo "llama-cpp-python==$version --hash=sha256:$hash" >"$temporary/requirements.txt"
"$environment/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
  --require-hashes --requirement "$temporary/requirements.txt" --dest "$temporary" </dev/null
rm -rf "$templates"
mkdir -p "$templates"
tar -xzf "$temporary/llama_cpp_python-$version.tar.gz" -C "$templates" --strip-components=5 --wildcards \
  '*/vendor/llama.cpp/models/templates/*.jinja'
printf '%s\n' "$version" >"$stamp"
