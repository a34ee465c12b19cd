#!/bin/sh
# usage: tests/fuzz/run.sh OUT SECONDS JOBS NAME...
#
# Runs OUT/NAME for so long, beginning with tests/fuzz/corpus/NAME; what it
# finds meanwhile is kept in OUT/NAME.corpus.

set -eu

out=$1
seconds=$2
jobs=$3
shift 3

one='
    name=$2
    mkdir -p "$0/$name.corpus"
    dict=tests/fuzz/$name.dict
    if "$0/$name" -max_total_time="$1" -timeout=10 -rss_limit_mb=2048 \
        -max_len=8192 -print_final_stats=1 \
        -artifact_prefix="$0/$name." $(test ! -f $dict || echo -dict=$dict) \
        "$0/$name.corpus" "tests/fuzz/corpus/$name" >"$0/$name.out" 2>&1
    then
        runs=$(sed -n "s/^stat::number_of_executed_units: *//p" \
                   "$0/$name.out")
        echo "fuzz: $name: ok, $runs runs"
    else
        tail -n 60 "$0/$name.out"
        echo "fuzz: $name: FAILED"
    fi'

printf '%s\n' "$@" | xargs -n 1 -P "$jobs" sh -c "$one" "$out" "$seconds" \
    | tee "$out/result"

passed=$(grep -c '^fuzz: .*: ok' "$out/result" || true)
failed=$(grep -c '^fuzz: .*: FAILED$' "$out/result" || true)

echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" = $# ]
