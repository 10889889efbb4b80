# Manual pages: complete, the same every time, without a complaint from the tools that read them.
. tests/cli/lib.sh
pages=$tmp/pages
made() { exits 0 man -q -o "$pages" && [ "$(ls "$pages" | wc -l)" = "$("$HEADSCOPE" man | wc -l)" ]; }
t "all pages" made
t "again, into the same folder" made
same() { exits 0 man -q -o "$tmp/again" && diff -r "$pages" "$tmp/again" >"$out"; }
t "the same pages every time" same
no_day() { ! grep -rE "$(date +%Y)-[0-9][0-9]|$(date +'%B')" "$pages" | grep . >"$out"; }
t "without the day's date" no_day
one() { exits 0 man headscope-record.1 && cmp -s "$out" "$pages/headscope-record.1"; }
t "one page" one
no_page() { exits 5 man recrod && says 'headscope man lists them'; }
t "no such page" no_page
t "a page and a folder" exits 2 man headscope.1 -o "$tmp/x"
t "a folder that cannot be" exits 1 man -o "$tmp/none/none"
full() { "$HEADSCOPE" man headscope-db.5 >/dev/full 2>"$err"; [ $? = 1 ] && says 'cannot write'; }
t "a full disk" full

# A page as plain text, roff taken off.
plain() {
    sed -e 's/\\-/-/g' -e "s/\\\\(aq/'/g" -e 's/\\(dq/"/g' -e 's/\\(ti/~/g' -e 's/\\(ga/`/g' \
        -e 's/\\(ha/^/g' -e 's/\\f[BR]//g' -e 's/\\&//g' -e 's/\\e/\\/g' "$1"
}
commands=$("$HEADSCOPE" completion words -- '' | sed 1d | cut -f 1 | grep -v '^-')
every_option() {
    for c in $commands; do
        plain "$pages/headscope-$c.1" >"$out" || return 1
        for o in $("$HEADSCOPE" completion words -- "$c" -- | sed 1d | cut -f 1); do
            grep -Eq -- "^(-., )?$o( |\$)" "$out" || { echo "# $c $o"; return 1; }
        done
    done
}
t "every option of every command" every_option
every_example() {
    for c in $commands; do
        plain "$pages/headscope-$c.1" >"$out"
        grep -q '^\.SH EXAMPLES$' "$out" && grep -q "^headscope $c" "$out" || { echo "# $c"; return 1; }
    done
}
t "every command has examples" every_example
every_command() { for c in $commands; do grep -q "^.fB$c.fR\$" "$pages/headscope.1" || return 1; done; }
t "every command in the page of the tool" every_command
every_table() { # columns that a database documents itself
    printf '{"tokens": [1, 2, 3]}\n' >"$tmp/p.jsonl"
    "$HEADSCOPE" record "$DATA/llama_gqa.gguf" -q -f "$tmp/p.jsonl" --maps all \
        --observe sinks,massive,drains,hidden_sinks -o "$tmp/run.db" >/dev/null || return 1
    exits 0 query "SELECT tbl, col FROM column_doc" --csv --db "$tmp/run.db" || return 1
    sed 1d "$out" | tr -d '\r' | tr , ' ' >"$tmp/columns"
    plain "$pages/headscope-db.5" >"$tmp/db.5"
    [ "$(wc -l <"$tmp/columns")" -gt 100 ] || return 1
    while read -r tbl col; do
        sed -n "/^\.SS table $tbl\$/,/^\.S/p" "$tmp/db.5" >"$out"
        case $col in prompt_id | analysis_run_id) grep -q "$col" "$out" ;; *) grep -qx "$col" "$out" ;; esac ||
            { echo "# $tbl.$col"; return 1; }
    done <"$tmp/columns"
}
t "every column of a database" every_table
views() {
    exits 0 query "SELECT name FROM sqlite_schema WHERE type = 'view'" --csv --db "$tmp/run.db" || return 1
    for v in $(sed 1d "$out"); do grep -qx "\.SS view $v" "$tmp/db.5" || return 1; done
}
t "every view" views
python_reads() { # the program in the page, on that database
    sed -n '/^import sqlite3/,/^\.fi/p' "$tmp/db.5" | sed '$d' >"$tmp/read.py"
    (cd "$tmp" && python3 read.py) >"$tmp/got" 2>"$err" || return 1
    exits 0 query "SELECT att_row(id, 2) FROM map WHERE layer = 0 AND head = 0 AND point = 'pattern'" \
        --db "$tmp/run.db" --csv || return 1
    python3 - "$out" "$tmp/got" <<'END'
import csv, json, sys
want = json.loads(list(csv.reader(open(sys.argv[1])))[1][0])
lines = open(sys.argv[2]).read().splitlines()
got = json.loads(lines[0])
sys.exit(0 if len(got) == 3 and all(abs(a - b) < 1e-7 for a, b in zip(got, want)) and len(lines) > 8 else 1)
END
}
t "the Python program in the page" python_reads
numbers() { grep -q "application_id is $(python3 -c '
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("PRAGMA application_id").fetchone()[0])' "$tmp/run.db")" "$tmp/db.5"; }
t "its application id" numbers

if command -v groff >/dev/null && command -v col >/dev/null; then
    groff_clean() {
        for p in "$pages"/*; do
            groff -man -Tutf8 -ww "$p" >"$out" 2>"$err"
            [ -s "$out" ] && [ ! -s "$err" ] || { echo "# $p"; return 1; }
        done
    }
    t "groff has no complaint" groff_clean
    read_back() { # nothing became markup: the text that groff shows is that of help
        groff -man -Tascii -P-c -rLL=200n "$pages/headscope-select.7" 2>"$err" | col -b >"$out"
        prints "blocks.\{0..3,11\}.hook_resid_post,logits" && prints '3, or -1 for the last'
    }
    t "what is read is what was written" read_back
else
    skip "groff has no complaint" "there is no groff, or no col, here"
fi
if command -v mandoc >/dev/null; then
    mandoc_clean() { for p in "$pages"/*; do mandoc -T lint -W warning "$p"; done >"$out" 2>&1; ! grep -v 'missing date' "$out" >"$err"; }
    t "mandoc has only the date to miss" mandoc_clean
else
    skip "mandoc has no complaint" "there is no mandoc here"
fi
if command -v man >/dev/null && command -v groff >/dev/null; then
    found() { mkdir -p "$tmp/man/man5" && cp "$pages/headscope-db.5" "$tmp/man/man5" && MANPATH=$tmp/man man headscope-db >"$out" 2>"$err" && prints 'headscope-db - '; }
    t "man finds and shows one" found
else
    skip "man shows them" "there is no man here"
fi

installed() {
    make -s -o "$HEADSCOPE" install BUILD="$BUILD" PREFIX=/usr DESTDIR="$tmp/dest" >"$out" 2>"$err" || return 1
    (cd "$tmp/dest/usr" && find . -type f | sort) >"$out"
    prints '^\./bin/headscope$' && prints '^\./share/man/man1/headscope\.1$' && prints '^\./share/man/man5/headscope-db\.5$' &&
        prints '^\./share/man/man7/headscope-sinks\.7$' && prints '^\./share/bash-completion/completions/headscope$' &&
        prints '^\./share/zsh/site-functions/_headscope$' && prints '^\./share/fish/vendor_completions.d/headscope.fish$'
}
uninstalled() {
    : >"$tmp/dest/usr/share/man/man1/headspace.1"
    make -s uninstall BUILD="$BUILD" PREFIX=/usr DESTDIR="$tmp/dest" >"$out" 2>"$err" || return 1
    [ "$(find "$tmp/dest" -type f)" = "$tmp/dest/usr/share/man/man1/headspace.1" ]
}
if [ -z "${HS_SANITIZED:-}" ]; then
    t "make install" installed
    t "make uninstall takes away that and nothing else" uninstalled
else
    skip "make install" "this build is another one"
fi
finish
