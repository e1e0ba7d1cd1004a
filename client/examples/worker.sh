#!/bin/bash
# A worker in bash: one JSON object a line. The keys t, id and attempt come first, so that they can be cut out.
# Task: {"args":["some words"]}; the result is how many there are.
fd=${MTD_TASK_FD:?is not set: this program is a worker, which mtd starts in a pool with \"tasks\"}
command -v jq >/dev/null || { echo "jq is not installed, and every task would fail" >&2; exit 1; }
printf '{"t":"ready","proto":1,"credit":1}\n' >&"$fd"
while IFS= read -r -u "$fd" line; do
  case $line in
    '{"t":"task",'*)
      id=${line#*\"id\":} id=${id%%[,\}]*}
      attempt=${line#*\"attempt\":} attempt=${attempt%%[,\}]*}
      if words=$(jq -er '.args[0] | strings' <<<"$line"); then
        printf '{"t":"done","id":%s,"attempt":%s,"result":%s}\n' "$id" "$attempt" "$(wc -w <<<"$words")" >&"$fd"
      else
        printf '{"t":"fail","id":%s,"attempt":%s,"retry":false,"error":{"type":"args","message":"%s"}}\n' \
          "$id" "$attempt" "one text is wanted" >&"$fd"
      fi ;;
    '{"t":"ping"'*) printf '{"t":"beat"}\n' >&"$fd" ;;
    '{"t":"drain"'*) exit 0 ;;
  esac
done
