#!/usr/bin/env bash
# Runs the tests of unsafe code, of files from outside and of threads under AddressSanitizer, in a build of its own.
#
#   scripts/sanitize.sh [FILTER]
#
# FILTER is a regular expression of tests, as `swift test --filter` takes it. The build takes eight minutes on two busy cores
# (Zen 3) and 340 MiB in .build-address, the tests three; ordinary builds stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."

# Left out: tests that train for long, and those that start processes of themselves, which sanitizers slow down most.
suites='StorageTests|TokenizationTests|ModelFilesTests|CorpusTests|ComputeTests|CPUEngineTests|StructuredOutputTests|ServingTests'
filter=${1:-$suites}

# Leaks: Swift's runtime keeps its metadata for ever. A request for too much memory is one that the tests make.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0
options=(-c release --sanitize address --scratch-path .build-address)

swift build "${options[@]}" --build-tests
swift test "${options[@]}" --skip-build --filter "$filter"
