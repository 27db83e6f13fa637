#!/usr/bin/env bash
# The default run, as the README shows it: bash experiments/default_run/run.sh   (about 3 minutes on 2 cores)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
autoopt >stdout.txt 2>stderr.txt
{
    cat stderr.txt
    sed -n 's/^.*autoopt.commands.searching: trial//p' outputs/fashion-s0/search.log
    sed '$d' stdout.txt
} | sed "s#$work#.#g" >"$here/transcript.txt"
tail -n 1 stdout.txt | sed "s#$work/##g" | python -m json.tool >"$here/results.json"
cp outputs/fashion-s0/front.png "$here/front.png"
python "$here/check.py" outputs/fashion-s0/champion >>"$here/transcript.txt"
