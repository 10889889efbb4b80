# docs/tour.md: every command that it shows is run, in order, and its output compared with the page.
# With WRITE=1 the page gets the outputs, and docs/ the pictures.
. tests/cli/lib.sh
page=$PWD/docs/tour.md tour=$PWD/tests/lib/tour.py

# ---- what compares ----------------------------------------------------------------------------

# shows INFO COMMAND OUTPUT: a page of one block holds.
shows() {
    printf '```%s\n$ %s\n%b```\n' "$1" "$2" "$3" >"$tmp/page.md"
    python3 "$tour" "$tmp/page.md" >"$out" 2>"$err"
}
wrong() { ! shows "$@" && grep -q '^not ok 1' "$out" && grep -q '^1\.\.1$' "$out"; }
t "output that agrees" shows console "echo a b" "a  b\n"
t "another word" wrong console "echo a b" "a c\n"
t "a word more" wrong console "echo a b c" "a b\n"
t "a line less" wrong console "echo a; echo b" "a\n"
t "a line more" wrong console "echo a" "a\nb\n"
t "one unit in the last place" shows console "echo x=0.12345" "x=0.12346\n"
t "three units" wrong console "echo x=0.12345" "x=0.12348\n"
t "large numbers by their size" shows console "echo 22552" "22551.9\n"
t "whole numbers exactly" wrong console "echo 22552" "22551\n"
t "times are anybody's" shows console "echo in 0.5 s, 3 MB" "in 7.25 s, 18.1 MB\n"
t "lines left out" shows console "seq 9" "1\n...\n4\n5\n...\n"
t "not those around them" wrong console "seq 9" "1\n...\n11\n...\n"
t "words left out" shows console "echo at 12:30 in Rome" "at ... Rome\n"
t "messages are output" shows console "echo no >&2" "no\n"
t "a command that fails" wrong console "echo a; false" "a\n"
t "one that is said to" shows "console fails" "echo a; false" "a\n"
t "one that is said to and does not" wrong "console fails" "echo a" "a\n"
t "the shell ends early" wrong console "exit 0" ""
variables() { shows console 'x=7' '$ echo $x\n7\n' && [ "$(tail -n 1 "$out")" = 1..2 ]; }
t "commands share a shell" variables
mends() {
    printf '```console\n$ seq 3 9\n3\n...\n8\n...\n$ echo 5.01\n5.02\n$ echo b\na\n```\n' \
        >"$tmp/page.md"
    python3 "$tour" "$tmp/page.md" --write >"$out" && python3 "$tour" "$tmp/page.md" >"$out" &&
        [ "$(sed -n '3,6p;8p;10p' "$tmp/page.md" | tr '\n' ' ')" = "3 ... 8 ... 5.02 b " ]
}
t "--write mends what differs" mends
left_out() {
    printf '```console\n$ echo new 1; seq 4; echo end 2\nnew 0\n...\nend 0\n```\n' >"$tmp/page.md"
    python3 "$tour" "$tmp/page.md" --write >"$out" &&
        [ "$(sed -n 3,5p "$tmp/page.md" | tr '\n' ' ')" = "new 1 ... end 2 " ]
}
t "and leaves out what was left out" left_out

# ---- the tour -----------------------------------------------------------------------------------

[ -f "$REAL" ] || {
    skip "the tour" "the default model was not fetched"
    finish
    exit 0
}
ln -s "$BUILD" "$tmp/build"
ln -s "$PWD/docs" "$tmp/docs"
cd "$tmp" || exit 1
[ -z "${WRITE-}" ] || {
    python3 "$tour" "$page" --write
    find . -maxdepth 1 -type f ! -name '.*' -delete # the second time from the start
}
python3 "$tour" "$page" >"$tmp/.page"
plan=$(sed -n 's/^1\.\.//p' "$tmp/.page")
sed '/^1\.\./d; s/^\(not ok\|ok\) [0-9]* - /\1 - /' "$tmp/.page"
count=$((count + ${plan:-0}))
t "it has commands" [ "${plan:-0}" -gt 30 ]
finish
