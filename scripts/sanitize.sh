#!/usr/bin/env bash
# Runs the tests of unsafe code, of files from outside and of threads under a sanitizer of the compiler, in a build of its own.
#
#   scripts/sanitize.sh address|thread [FILTER]
#
# FILTER is a regular expression of tests, as `swift test --filter` takes it. `thread` also lets clients that misbehave loose on
# a server. On two busy cores (Zen 3) the address build takes eight minutes and its tests three, the thread build nineteen
# and its tests three; they leave 340 and 310 MiB in .build-address and .build-thread. Ordinary builds stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."

sanitizer=${1:?address or thread}
options=(-c release --sanitize "$sanitizer" --scratch-path ".build-$sanitizer")
order=--parallel

# Left out: tests that train for long, and those that start processes of themselves, which sanitizers slow down most.
case $sanitizer in
  address)
    suites='StorageTests|TokenizationTests|ModelFilesTests|CorpusTests|ParquetTests|ComputeTests|CPUEngineTests|StructuredOutputTests|ServingTests'
    ;;
  thread) # One test after another: threads that wait for each other in turns get no time beside many others.
    suites='PreparationRunTests|BatchSchedulerTests|ServingTests|ProcessesTests|CrossEntropyTests|TrainingPassTests'
    order=--no-parallel
    ;;
  *) echo "scripts/sanitize.sh: address or thread is expected" >&2 && exit 2 ;;
esac

# Leaks: Swift's runtime keeps its metadata for ever. A request for too much memory is one that the tests make.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0
reports=$PWD/.build-thread/reports
export TSAN_OPTIONS="suppressions=$PWD/scripts/thread_sanitizer_suppressions.txt exitcode=66"

swift build "${options[@]}" --build-tests
swift test "${options[@]}" --skip-build $order --filter "${2:-$suites}"

if [ "$sanitizer" = thread ] && [ $# -lt 2 ]; then
  scripts/python_environment.sh .venv scripts/requirements-test.txt
  rm -rf "$reports" && mkdir "$reports"
  TSAN_OPTIONS="$TSAN_OPTIONS log_path=$reports/race" MINIMIND=$PWD/.build-thread/release/minimind \
    .venv/bin/python -m pytest -q -p no:cacheprovider Tests/Interop/test_hostile_clients.py
  if [ -n "$(ls "$reports")" ]; then cat "$reports"/* && exit 1; fi
fi
