#!/bin/sh
# Builds the Go client once and runs it: run.sh SOCKET [EVENTS]. Needs Debian's golang-go and
# golang-github-varlink-go-dev; works offline. Exits with 77 and a reason when they are missing.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if ! command -v go >/dev/null 2>&1; then
  echo "SKIP: no go (package golang-go)"
  exit 77
fi
if [ ! -d /usr/share/gocode/src/github.com/varlink/go ]; then
  echo "SKIP: no Varlink library for Go (package golang-github-varlink-go-dev)"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/cache"
HOME=$work GOCACHE=${VARLINK_GO_CACHE:-$work/cache} GOPATH=/usr/share/gocode GO111MODULE=off GOFLAGS='' \
  GOPROXY=off CGO_ENABLED=0 go build -o "$work/varlink_go" "$here/main.go"
"$work/varlink_go" "$@"
