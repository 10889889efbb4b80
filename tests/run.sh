#!/bin/sh
# run.sh BUILD: runs every test that was built there, and the command line's own.
#
# Everything speaks TAP: cmocka's binaries, the scripts in tests/cli, and the fuzz replays as one
# test each. A suite that crashes, or runs fewer tests than it planned, counts a failure more. Ends
# with "N passed, N failed" alone on a line; exit 1 when one failed.
set -u

build=${1:?usage: run.sh BUILD}
cd "$(dirname "$0")/.." || exit 1
case $build in /*) ;; *) build=$PWD/$build ;; esac
export LSAN_OPTIONS="suppressions=$PWD/tests/lib/lsan.supp:print_suppressions=0"
export TSAN_OPTIONS="suppressions=$PWD/tests/lib/tsan.supp:print_suppressions=0"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0

# Counts $out, of a suite that ended with status $2. (cmocka says "not ok" of what it skips.)
tally() {
    sed -i 's/^not ok \([0-9]* # SKIP\)/ok \1/' "$out"
    ok=$(grep -c '^ok ' "$out")
    bad=$(grep -c '^not ok ' "$out")
    plan=$(awk -F '\\.\\.' '/^1\.\.[0-9]+/ { n += $2 } END { print n + 0 }' "$out")
    lost=0
    [ "$plan" -gt 0 ] && [ $((ok + bad)) -eq "$plan" ] || lost=1
    [ "$2" -eq 0 ] || [ "$bad" -gt 0 ] || lost=1
    passed=$((passed + ok)) failed=$((failed + bad + lost))
    if [ $((bad + lost)) -gt 0 ]; then
        echo "---- $1 (exit $2) ----"
        cat "$out"
        [ "$lost" -eq 0 ] || echo "---- $1: planned $plan tests, $ok passed, $bad failed ----"
    fi
    printf '%-32s %4d passed %4d failed\n' "$1" "$ok" $((bad + lost))
}

for bin in "$build"/tests/unit/test_* "$build"/tests/laws/test_* "$build"/tests/golden/test_*; do
    case $bin in *.o | *.d) continue ;; esac
    [ -x "$bin" ] || continue
    CMOCKA_MESSAGE_OUTPUT=TAP "$bin" >"$out" 2>&1
    tally "${bin#"$build"/tests/}" $?
done

for bin in "$build"/tests/fuzz/fuzz_*.replay; do
    [ -x "$bin" ] || continue
    name=$(basename "$bin" .replay)
    if "$bin" "tests/fuzz/corpus/${name#fuzz_}" >"$out" 2>&1; then
        printf '1..1\nok 1 - corpus\n' >>"$out"
        tally "fuzz/$name" 0
    else
        status=$?
        printf '1..1\nnot ok 1 - corpus\n' >>"$out"
        tally "fuzz/$name" $status
    fi
done

for script in tests/cli/*.t; do
    [ -f "$script" ] || continue
    BUILD=$build sh "$script" >"$out" 2>&1
    tally "cli/$(basename "$script" .t)" $?
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
