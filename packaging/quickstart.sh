#!/bin/bash
# Builds mtd and shows its main job: pools of workers that stay up.
#
#     packaging/quickstart.sh [--no-build BUILD_DIRECTORY]
#
# For Debian 12, as root, through sudo, or as a user for whom everything needed is installed. Starts mtd with
# config/examples in a directory of its own, kills workers and the supervisor, scales, reloads, stops, and leaves
# nothing behind but the build directory. Exits non-zero if something it claims did not happen.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
# shellcheck source=packaging/dependencies.sh
. packaging/dependencies.sh

build=build/release
if [ "${1:-}" = --no-build ]; then
  build=${2:?--no-build needs a build directory}
elif [ $# -gt 0 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 2
else
  install_packages "${BUILD_PACKAGES[@]}" "${EXAMPLE_PACKAGES[@]}"
  log=build/quickstart.log
  mkdir -p build
  echo "building mtd, a few minutes the first time (log: $log)"
  if ! { cmake --preset release -DMTD_TESTS=OFF && cmake --build --preset release; } >"$log" 2>&1; then
    tail -n 40 "$log"
    exit 1
  fi
  if [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ]; then chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" build; fi
fi
exec /usr/bin/python3 packaging/quickstart_session.py "$build/bin" config/examples
