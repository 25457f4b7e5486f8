#!/usr/bin/env bash
# Installs the Debian packages that the build and the tests need, only those that are missing, and checks Swift.
#
#   scripts/setup.sh            what `make build` and `make test` need
#   scripts/setup.sh PACKAGE…   those packages only
#
# With MINIMIND_PORTABLE=1, the build that runs on any machine, oneDNN is not needed.
#
# May be run any number of times; with nothing to do it takes a fraction of a second.
set -euo pipefail

packages=(
  libsimdjson-dev libssl-dev libzip-dev libmicrohttpd-dev libpcre2-dev zlib1g-dev libzstd-dev libsnappy-dev libpng-dev
  libturbojpeg0-dev libwebp-dev libcurl4 openmpi-bin pkg-config python3 python3-venv ca-certificates
)
if [ "${MINIMIND_PORTABLE:-}" != 1 ]; then packages+=(libdnnl-dev); fi
if [ $# -gt 0 ]; then packages=("$@"); fi

if [ "$(uname -s)" != Linux ] || ! command -v dpkg-query >/dev/null; then
  echo "setup: this is not a Debian system. Install the equivalents of these packages:" >&2
  echo "setup:   ${packages[*]}" >&2
  echo "setup: then run: swift build -c release --product minimind" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  if ! dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then missing+=("$package"); fi
done

if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "setup: these packages are missing and this account cannot install them. Run as root:" >&2
      echo "setup:   apt-get install ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq </dev/null
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
fi

if [ $# -gt 0 ]; then exit 0; fi
if ! command -v swift >/dev/null; then
  echo "setup: Swift is missing. Install Swift 6.2 or newer from https://www.swift.org/install/ and run this again." >&2
  exit 1
fi
version=$(swift --version 2>/dev/null | sed -nE 's/.*Swift version ([0-9]+)\.([0-9]+).*/\1 \2/p' | head -n 1)
read -r major minor <<<"${version:-0 0}"
if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 2 ]; }; then
  echo "setup: this is Swift $major.$minor; 6.2 or newer is needed. See https://www.swift.org/install/" >&2
  exit 1
fi
echo "setup: ready (Swift $major.$minor)"
