#!/usr/bin/env bash
# Compiles llama.cpp and its server for this machine, once, and installs its Python package on top; many minutes.
# With nothing to do it returns at once.
#
#   scripts/llama_cpp.sh .venv-peers
#
# The server is .venv-peers/llama.cpp/build/bin/llama-server.
set -euo pipefail

environment=$1 requirements=scripts/requirements-peers.txt
source=$environment/llama.cpp build=$environment/llama.cpp/build

[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
scripts/llama_cpp_source.sh "$environment" llama.cpp 3 '*/vendor/llama.cpp/*'

compile() {
  cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=ON -DLLAMA_OPENSSL=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
  cmake --build "$build" --target llama-server --parallel "$(nproc)"
}

if [ ! -x "$build/bin/llama-server" ]; then
  echo "llama.cpp: compiling, see $source/build.log"
  compile >"$source/build.log" 2>&1 || { tail -20 "$source/build.log" >&2; exit 1; }
fi

# The package brings no library of its own, but finds these where it would be.
CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" scripts/python_environment.sh "$environment" $requirements
libraries=$(echo "$environment"/lib/python3*/site-packages/llama_cpp)/lib
mkdir -p "$libraries"
ln -sf "$(realpath "$build")"/bin/lib*.so "$libraries/"
