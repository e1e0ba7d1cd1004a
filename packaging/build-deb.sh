#!/bin/bash
# Builds the Debian packages mtd, libmtd0, libmtd-dev and python3-mtd, and checks them with lintian.
#
#     packaging/build-deb.sh [--build DIR] [OUTPUT-DIR]
#
# Compiles everything anew, unless --build names a directory where a release was built already.
# They and the list of contents of mtd in SPDX come into OUTPUT-DIR (build/deb); the last line is the path of mtd's.
# Needs debhelper and the packages to build mtd; without lintian its checks are left out, which is said.
# Maintainer: DEBFULLNAME and DEBEMAIL, else the author of the last commit.
# The same sources give the same package: times come from SOURCE_DATE_EPOCH, or from the last commit.
set -euo pipefail
cd "$(dirname "$0")/.."

build='' output=''
while [ $# -gt 0 ]; do
  case $1 in
    --build)
      [ $# -gt 1 ] || { echo "build-deb.sh: --build needs a directory" >&2; exit 2; }
      build=$(realpath "$2"); shift 2 ;;
    -*) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) output=$1; shift ;;
  esac
done
output=${output:-build/deb}
for program in dpkg-buildpackage dh cmake; do
  command -v "$program" >/dev/null && continue
  echo "build-deb.sh: $program is not installed (debhelper, dpkg-dev, cmake)" >&2
  exit 1
done
if [ -n "$build" ] && [ ! -e "$build/cmake_install.cmake" ]; then
  echo "build-deb.sh: $build is no directory that cmake built in" >&2; exit 2
fi

version=$(sed -n 's/^project(mtd VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y NEWS.md)}
export SOURCE_DATE_EPOCH
# Who answers for the package: whoever builds it says so as Debian's tools expect it, else the last commit's author does.
if [ -n "${DEBEMAIL:-}" ]; then
  maintainer="${DEBFULLNAME:-mtd maintainers} <$DEBEMAIL>"
else
  maintainer=$(git log -1 --format='%an <%ae>' 2>/dev/null || true)
fi
maintainer=${maintainer:-$(id -un) <$(id -un)@$(hostname -f 2>/dev/null || hostname)>}
case $maintainer in *[/\&]* | *$'\n'*) echo "build-deb.sh: no maintainer's name: $maintainer" >&2; exit 2 ;; esac
mkdir -p "$output"
output=$(realpath "$output")
work=$(mktemp -d "${TMPDIR:-/tmp}/mtd-deb-XXXXXX")
trap 'rm -rf "$work"' EXIT
source=$work/mtd-$version
mkdir "$source"
if git rev-parse --git-dir >/dev/null 2>&1; then git ls-files -z; else find . -type f -not -path './build*' -print0; fi |
  xargs -0 cp --parents -t "$source"
cp -r packaging/debian "$source/debian"
sed -e "s/@VERSION@/$version/" -e "s/@DATE@/$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")/" \
  -e "s/@MAINTAINER@/$maintainer/" packaging/debian/changelog.in >"$source/debian/changelog"
sed -i "s/@MAINTAINER@/$maintainer/" "$source/debian/control"
rm "$source/debian/changelog.in"

options=(-b -us -uc -tc)
# What was built already needs nothing to build it.
[ -z "$build" ] || options+=(-d)
if ! (cd "$source" && MTD_BUILD=$build dpkg-buildpackage "${options[@]}") >"$work/log" 2>&1; then
  tail -n 40 "$work/log" >&2
  exit 1
fi

package=$(basename "$(echo "$work"/mtd_"$version"_*.deb)")
/usr/bin/python3 packaging/sbom.py "$work/$package" >"$work/${package%.deb}.spdx.json"
if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$work"/mtd_"$version"_*.changes
else
  echo "build-deb.sh: lintian is not installed, so the package was not checked" >&2
fi
mv "$work"/*.deb "$work/${package%.deb}.spdx.json" "$output/"
echo "$output/$package"
