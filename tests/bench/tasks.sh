#!/bin/bash
# tasks.sh [--quick] [options of tasks.py]: the benchmark of tasks, from a release build.
# MTD_BIN names a bin/ that is built already; without it build/release is configured and built.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if [ -z "${MTD_BIN:-}" ]; then
  build=$root/build/release
  generator=$(command -v ninja >/dev/null && echo Ninja || echo "Unix Makefiles")
  [ -f "$build/CMakeCache.txt" ] || cmake -S "$root" -B "$build" -G "$generator" -DCMAKE_BUILD_TYPE=Release
  cmake --build "$build"
  MTD_BIN=$build/bin
fi
export MTD_BIN
exec /usr/bin/python3 "$here/tasks.py" "$@"
