#!/bin/sh
# Works for one to five seconds, then ends in one of four ways, three of them bad.
set -u
number() { od -An -N2 -tu2 /dev/urandom | tr -d ' '; }

sleep $((1 + $(number) % 5)) &
wait $!
case $(($(number) % 4)) in
  0) exit 0 ;;
  1) exit 3 ;;
  2) kill -SEGV $$ ;;
  3) kill -KILL $$ ;;
esac
