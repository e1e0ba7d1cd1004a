#!/bin/bash
# Everything that is checked: builds, lint, unit and model tests, integration tests with the real programs,
# the unit and model tests once more by clang with AddressSanitizer and UndefinedBehaviorSanitizer, clang-tidy.
#
#     tests/run.sh [--quick|--full|--packages]
#
# Installs missing Debian packages if it may (root or sudo). The last line is "N passed, N failed", with
# ", N skipped" if something was skipped; each skip is printed with its reason. Exit code 1 if something failed.
#   --quick  release build and its tests only
#   --full   each source compiled by itself by clang, integration tests with sanitized programs too, clang-tidy over
#            every file, fuzz targets for a minute each
#   --packages  installs what is missing and ends
# Logs: build/test-logs. Two processors need about 20 minutes for the default, less with a warm compiler cache.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
umask 022
# shellcheck source=packaging/dependencies.sh
. packaging/dependencies.sh

profile=default
case "${1:-}" in
  '') ;;
  --quick | --full | --packages) profile=${1#--} ;;
  *) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

logs=$PWD/build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
begin=$SECONDS
jobs=$(nproc)
export CTEST_OUTPUT_ON_FAILURE=1 PYTHONDONTWRITEBYTECODE=1
# Recover nothing: the first report of a sanitizer ends the program, with an exit code of its own.
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1:exitcode=99

say() { printf '%s\n' "$*"; }
result() { printf '%-44s %s  (%d s)\n' "$1" "$2" "$((SECONDS - step_begin))"; }
skip() { skipped=$((skipped + 1)); say "skipped: $1: $2"; }

# check NAME COMMAND…: one check; what it prints is shown if it fails.
check() {
  local name=$1 log=$logs/${1//[^a-z0-9]/-}.log step_begin=$SECONDS
  shift
  if "$@" >"$log" 2>&1; then
    passed=$((passed + 1)); result "$name" ok
  else
    failed=$((failed + 1)); result "$name" FAILED
    { grep -E 'error:|fatal error' "$log" | head -n 30; echo ...; tail -n 40 "$log"; } | cut -c1-300 | sed 's/^/    /'
    return 1
  fi
}

build() { check "build $1" sh -c "cmake --preset $1 && cmake --build --preset $1 -- -k 0 -j $jobs"; }

# counted NAME LOG PASSED FAILED SKIPPED: takes over the counts of a step that ran many cases.
counted() {
  passed=$((passed + $3)) failed=$((failed + $4)) skipped=$((skipped + $5))
  result "$1" "$3 passed, $4 failed, $5 skipped"
  [ "$4" = 0 ] || tail -n 80 "$2" | sed 's/^/    /'
}

# from_report NAME LOG KIND FILE COMMAND…: the same from a JUnit file; without one the step itself failed.
# COMMAND runs what failed once more, alone, and writes FILE.again. What passes then is named: on a machine where it
# is not alone it failed, and that has a cause.
from_report() {
  local name=$1 log=$2 kind=$3 file=$4 report
  shift 4
  rm -f "$file.again"
  if ! report=$(/usr/bin/python3 tests/count_results.py "$kind" "$file" 2>&1); then
    failed=$((failed + 1)); result "$name" 'FAILED, no report'; tail -n 60 "$log" | sed 's/^/    /'; return
  fi
  if [[ $report =~ ^[0-9]+\ ([0-9]+) && ${BASH_REMATCH[1]} != 0 ]]; then
    say "$name: at the first try"
    failures "$log" | cut -c1-300 | sed 's/^/    /'
    "$@" >>"$log" 2>&1
    report=$(/usr/bin/python3 tests/count_results.py "$kind" "$file" "$file.again" 2>&1)
  fi
  # shellcheck disable=SC2046
  counted "$name" "$log" $(head -n 1 <<<"$report")
  tail -n +2 <<<"$report" | sed '/^$/d; s/^/    /'
}

# What a log of ctest or pytest says of its failures: doctest's and pytest's lines, else its end.
failures() {
  local signs='ERROR: |FATAL ERROR|^E  |^FAILED |ERROR: (Address|Leak|Undefined)|runtime error'
  grep -aE -A 6 "$signs" "$1" | head -n 120 | grep . || tail -n 60 "$1"
}

run_ctest() {
  local name="tests, $1" log=$logs/ctest-$1.log report=$logs/ctest-$1.xml step_begin=$SECONDS
  local command=(ctest --test-dir "build/$1" --timeout 600
    --test-output-size-passed 1000000 --test-output-size-failed 1000000)
  rm -f "$report"
  "${command[@]}" -j "$jobs" --output-junit "$report" >"$log" 2>&1
  from_report "$name" "$log" ctest "$report" "${command[@]}" --rerun-failed --output-junit "$report.again"
}

# The files of the integration tests in one part more than there are processors, at most three, side by side: they wait
# more than they compute, and have directories, ports and cgroups of their own.
run_integration() {
  local name="integration tests, $1" step_begin=$SECONDS
  if ! compgen -G 'tests/integration/test_*.py' >/dev/null; then skip "$name" 'there are none'; return; fi
  if ! /usr/bin/python3 -c 'import pytest' 2>/dev/null; then skip "$name" 'python3-pytest is not installed'; return; fi
  local more=() patience=30 limit=1800 parts=$((jobs < 2 ? jobs + 1 : 3)) part i files
  if [ "$profile" = full ]; then more=(--full) limit=14400; fi
  if [ "$1" = sanitize ]; then patience=90; fi
  export MTD_BIN=$PWD/build/$1/bin MTD_TEST_PATIENCE=$patience
  # shellcheck disable=SC2012
  mapfile -t files < <(ls -S tests/integration/test_*.py)
  for ((part = 1; part <= parts; part++)); do
    local chosen=() stem=$logs/integration-$1-$part
    for ((i = part - 1; i < ${#files[@]}; i += parts)); do chosen+=("${files[i]}"); done
    rm -rf "$stem.xml" "$stem-cache"
    timeout -k 30 "$limit" /usr/bin/python3 -m pytest "${chosen[@]}" -q -rs --durations=15 \
      -o "cache_dir=$stem-cache" "${more[@]}" --junitxml="$stem.xml" >"$stem.log" 2>&1 &
  done
  trap 'kill $(jobs -p); wait; exit 130' INT TERM  # each ends its daemons first
  wait
  trap - INT TERM
  for ((part = 1; part <= parts; part++)); do
    local stem=$logs/integration-$1-$part
    from_report "$name, $part of $parts" "$stem.log" pytest "$stem.xml" \
      timeout -k 30 "$limit" /usr/bin/python3 -m pytest tests/integration -q -rs --last-failed \
      --last-failed-no-failures none -o "cache_dir=$stem-cache" "${more[@]}" --junitxml="$stem.xml.again"
  done
}

run_lint() {
  local log=$logs/lint.log step_begin=$SECONDS line
  /usr/bin/python3 tests/lint/lint.py --build build/release >"$log" 2>&1
  grep '^lint: skipped ' "$log" | sed 's/^lint: /    /'
  line=$(grep -E '^lint: [0-9]+ passed' "$log")
  if [[ $line =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)? ]]; then
    counted lint "$log" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[4]:-0}"
  else
    failed=$((failed + 1)); result lint 'FAILED to run'; tail -n 30 "$log"
  fi
}

# clang-tidy over what decides most, for a limited time; --full: over everything, without a limit.
run_tidy() {
  local step_begin=$SECONDS budget=$1 log=$logs/clang-tidy.log files done_count
  shift
  if ! command -v clang-tidy-14 >/dev/null; then skip clang-tidy 'clang-tidy-14 is not installed'; return; fi
  files=$(find "$@" -name '*.cpp' | sort)
  [ -n "$files" ] || return 0
  rm -f "$logs"/tidy-*.ok "$logs"/tidy-*.log
  # shellcheck disable=SC2016
  timeout -k 5 "$budget" xargs -P "$jobs" -n 1 sh -c '
    name='"$logs"'/tidy-$(echo "$1" | tr / -)
    if clang-tidy-14 -p build/sanitize --quiet "$1" >"$name.log" 2>&1; then : >"$name.ok"; fi' tidy <<<"$files" || true
  cat "$logs"/tidy-*.log >"$log" 2>/dev/null
  done_count=$(find "$logs" -name 'tidy-*.ok' | wc -l)
  local bad
  bad=$(grep -lE '(warning|error):' "$logs"/tidy-*.log 2>/dev/null | wc -l)
  grep -hE '(warning|error):' "$logs"/tidy-*.log 2>/dev/null | sort -u >"$log"
  counted "clang-tidy, by file" "$log" "$done_count" "$bad" 0
  local rest=$(($(wc -l <<<"$files") - done_count - bad))
  [ "$rest" -le 0 ] || skip "clang-tidy of $rest files" "the time allowed for it, $budget s, was over"
}

# What could be left behind: processes from our build directory, cgroup directories, and temporary ones.
leftovers() {
  local entry target
  for entry in /proc/[0-9]*/exe; do
    target=$(readlink "$entry" 2>/dev/null) || continue
    case $target in "$PWD/build/"*/bin/*) echo "process ${entry//[!0-9]/}: $target" ;; esac
  done
  find /sys/fs/cgroup -maxdepth 6 -type d -name 'mtd.*' -not -name '*.service' 2>/dev/null
  find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'mtd-*' 2>/dev/null
}
check_leftovers() {
  local left
  left=$(comm -13 <(printf '%s\n' "$1" | sort) <(leftovers | sort))
  [ -z "$left" ] || { echo "left behind:"; echo "$left"; return 1; }
}

say "mtd tests, $profile profile, $jobs processors, $(date -u +%FT%TZ)"
step_begin=$SECONDS
if ! install_packages "${BUILD_PACKAGES[@]}"; then say '0 passed, 1 failed'; exit 1; fi
wanted=("${TEST_PACKAGES[@]}" "${EXAMPLE_PACKAGES[@]}")
case $profile in full | packages) wanted+=("${FULL_PACKAGES[@]}") ;; esac
mapfile -t missing < <(missing_packages "${wanted[@]}")
if [ ${#missing[@]} -gt 0 ] && ! install_packages "${missing[@]}"; then
  mapfile -t missing < <(missing_packages "${missing[@]}")
  say "without ${missing[*]}: the tests that need them are skipped"
fi
result packages ok
[ "$profile" != packages ] || exit 0
before=$(leftovers)

if build release; then
  run_lint
  run_ctest release
  run_integration release
  if [ -x packaging/quickstart.sh ]; then check 'quick start' packaging/quickstart.sh --no-build build/release; fi
fi
# The second compiler builds with the sanitizers: its warnings are errors, too.
if [ "$profile" != quick ]; then
  if ! command -v clang++-14 >/dev/null; then
    skip 'build sanitize' 'clang-14 is not installed'
  elif build sanitize; then
    run_ctest sanitize
    if [ "$profile" = full ]; then
      run_integration sanitize
      run_tidy 3600 common config daemon ctl
    else
      run_tidy 180 common daemon/supervisor/model
    fi
  fi
  if [ "$profile" = full ] && command -v clang++-14 >/dev/null; then build clang; fi
  if [ "$profile" = full ] && command -v clang++-14 >/dev/null && build fuzz; then
    for target in build/fuzz/bin/fuzz_*; do
      [ -x "$target" ] || continue
      check "fuzz ${target##*/fuzz_}" "$target" -max_total_time=60 -artifact_prefix="$logs/"
    done
  fi
fi
check 'nothing left behind' check_leftovers "$before"

# Through sudo: what was built belongs to who asked for it.
if [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ]; then chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" build; fi
say "$((SECONDS - begin)) s in all; logs in build/test-logs"
summary="$passed passed, $failed failed"
[ "$skipped" = 0 ] || summary="$summary, $skipped skipped"
say "$summary"
[ "$failed" = 0 ]
