#!/bin/sh
# coverage.sh BUILD: how much of the files that each fuzz target is for its corpora reach: those in
# the repository, and what `make fuzz` found since (BUILD/../corpus). BUILD holds the replays built
# with clang's coverage; the files are named by the lines "// covers:" of each target.
set -eu

build=${1:?usage: coverage.sh BUILD}
tool() { # the newest llvm tool of that name
    for t in "$1" $(ls /usr/bin/"$1"-* 2>/dev/null | sort -t- -k3 -n -r); do
        command -v "$t" && return
    done
    echo "coverage needs $1: install llvm" >&2
    exit 1
}
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)
TMPDIR=${TMPDIR:-$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)}
export TMPDIR
printf '%-12s %6s  %-28s %14s %16s\n' target inputs file lines branches
for bin in "$build"/tests/fuzz/fuzz_*.replay; do
    name=$(basename "$bin" .replay)
    name=${name#fuzz_}
    files=$(sed -n 's,^// covers: ,,p' "tests/fuzz/fuzz_$name.c")
    set -- "tests/fuzz/corpus/$name"
    [ ! -d "$build/../corpus/fuzz_$name" ] || set -- "$@" "$build/../corpus/fuzz_$name"
    inputs=$(LLVM_PROFILE_FILE=$bin.profraw "$bin" "$@" | sed -n 's/^replayed \(.*\) inputs$/\1/p')
    "$profdata" merge -sparse -o "$bin.profdata" "$bin.profraw"
    # shellcheck disable=SC2086 # a list of files
    "$cov" export -summary-only -instr-profile="$bin.profdata" "$bin" $files |
        python3 -c 'import json, os, sys
for f in json.load(sys.stdin)["data"][0]["files"]:
    s = [f["summary"][k] for k in ("lines", "branches")]
    show = ["%d/%d %3.0f %%" % (x["covered"], x["count"], x["percent"]) for x in s]
    print("%-12s %6s  %-28s %14s %16s" % (sys.argv[1], sys.argv[2], os.path.relpath(f["filename"]), *show))' \
            "$name" "$inputs"
done
