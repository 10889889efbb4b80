# Helpers of the command line's tests: plain sh, TAP on stdout. Sourced as
#     . tests/cli/lib.sh
# from the repository's root, with BUILD set. A script ends with `finish`.
#
#   hs ARGS...            runs headscope; its output is in $out, its messages in $err, status in $rc
#   t NAME COMMAND...     one test: passes when COMMAND succeeds
#   exits N ARGS...       hs ARGS, and the status is N; a failure is one line "headscope: ..."
#   json EXPR             the output is JSON d for which the Python expression EXPR holds
#   says PATTERN          the messages match the extended regular expression
#   prints PATTERN        so does the output

set -u
export LC_ALL=C.UTF-8
unset HEADSCOPE_DB HEADSCOPE_MODEL HS_THREADS HS_ISA NO_COLOR CLICOLOR_FORCE
HEADSCOPE=${BUILD:?}/headscope
DATA=$PWD/tests/golden/data
REAL=$BUILD/models/SmolLM2-135M-Instruct.Q4_1.gguf
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
out=$tmp/.out err=$tmp/.err
count=0 rc=0

hs() {
    "$HEADSCOPE" "$@" >"$out" 2>"$err" </dev/null
    rc=$?
    return $rc
}

t() {
    name=$1
    shift
    count=$((count + 1))
    : >"$out"
    : >"$err"
    if "$@"; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name"
        echo "#   $*" | tr '\n' ' '
        echo
        { head -c 2000 "$out"; echo; } | sed 's/^/#   out: /'
        { head -c 2000 "$err"; echo; } | sed 's/^/#   err: /'
    fi
}

skip() {
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# Whether this machine can make a terminal: some chroots and containers lack /dev/pts.
has_pty() { python3 -c 'import pty; pty.openpty()' 2>/dev/null; }

exits() {
    want=$1
    shift
    hs "$@"
    [ "$rc" = "$want" ] || {
        echo "#   status $rc, not $want"
        return 1
    }
    [ "$want" = 0 ] || [ "$want" = 4 ] ||
        { [ "$(wc -l <"$err")" = 1 ] && grep -q '^headscope: .' "$err"; }
}

json() {
    python3 - "$out" "$1" <<'END'
import json, math, sys
def no(name): raise ValueError(name)
with open(sys.argv[1], encoding="utf-8") as f:
    d = json.load(f, parse_constant=no)
def near(a, b, tol=1e-6): return abs(a - b) <= tol
ok = eval("(" + sys.argv[2] + ")")
if not ok: print("#   not so:", sys.argv[2])
sys.exit(0 if ok else 1)
END
}

says() {
    grep -Eq -- "$1" "$err"
}

prints() {
    grep -Eq -- "$1" "$out"
}

finish() {
    echo "1..$count"
}
