# Tables of the commands that read: aligned by display width, fitted to a terminal, plain in a pipe,
# and deaf to what a stranger's database would tell a terminal. A pty stands for the terminal.
. tests/cli/lib.sh

if ! has_pty; then
    skip "tables on a terminal" "no terminal can be made here"
    finish
    exit 0
fi
m=$DATA/llama_gqa.gguf
db=$tmp/t.db
export HEADSCOPE_DB=$db
printf '%s\n' '{"id": "a", "tokens": [1, 2, 3, 4, 5, 6, 7, 8]}' '{"id": "b", "tokens": [9, 8, 7, 9, 8, 7, 9, 8, 7]}' >"$tmp/p.jsonl"
hs record "$m" -f "$tmp/p.jsonl" --maps all --observe sinks,stripes -o "$db"
hs record "$m" -f "$tmp/p.jsonl" --maps all --observe sinks,stripes -o "$db" --label 'one \ two'
# Texts of every kind: wide, combining, joined, from right to left; control characters, C1, escapes,
# overrides of direction, a thousand marks on one letter, and a NULL.
python3 - "$db" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
evil = "\x1b[31m\x1b]0;x\x07\x9b1m\u202e\u200bred\r\n\tend\x7f"
texts = ["漢字かな", "e\u0301te\u0301", "👩\u200d👩\u200d👧", "مرحبا", evil, "a" + "\u0301" * 1000, None, " x "]
for i, t in enumerate(texts): db.execute("update token set text = ? where pos = ?", (t, i))
db.execute("update token set text = '' where pos = 8")
db.execute("update prompt set text = ? where ord = 0", ("漢字 " * 60,))
db.execute("update prompt set text = ?, label = 'b' || char(27) || 'c' where ord = 1", (evil * 9,))
for col in ("name", "source", "arch"): db.execute(f"update model set {col} = {col} || ?", (evil,))
db.execute("update run set argv_json = json_array(?)", (evil,))
db.commit()
END

# term WIDTH ARGS...: hs on a terminal of that width; its output is in $out, carriage returns removed.
term() {
    python3 - "$out" "$err" "$HEADSCOPE" "$@" <<'END'
import fcntl, os, pty, struct, subprocess, sys, termios
out, err, exe, width, *args = sys.argv[1:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(width), 0, 0))
with open(err, "wb") as e:
    p = subprocess.Popen([exe, *args], stdin=subprocess.DEVNULL, stdout=slave, stderr=e)
os.close(slave)
data = b""
while True:
    try: piece = os.read(master, 65536)
    except OSError: break
    if not piece: break
    data += piece
open(out, "wb").write(data.replace(b"\r\n", b"\n"))
sys.exit(p.wait())
END
}

# lines EXPR: the Python expression EXPR holds for every line s of the output, whose width is w.
lines() {
    python3 - "$out" "$1" <<'END'
import re, sys, unicodedata
def width(s):
    n, joined = 0, False
    for c in s:
        if c == "\u200d": joined = True
        elif joined: joined = False
        elif not unicodedata.combining(c) and unicodedata.category(c) != "Cf":
            n += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return n
text = open(sys.argv[1], encoding="utf-8", newline="").read()
text = text.replace("\x1b[1m", "").replace("\x1b[0m", "") if "BOLD" in sys.argv[2] else text
BOLD = True
assert text
for s in text.split("\n"):
    w = width(s)
    if not eval(sys.argv[2]):
        print("#   not so:", sys.argv[2], "for", ascii(s))
        sys.exit(1)
END
}

quiet='not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", s) and "\t" not in s'
plain='s == s.rstrip(" ") and not re.search("[\u2500-\u257f…]", s)'
for c in "heads --metric entropy_nats" "attend --head L1H0 --from 8 --prompt 1 --top 0" "attend --head L1H0 --from 4" runs show \
    "query tokens" "query prompts" "query sink_heads" "query token_path" "query who_looks" "query head_rows" "query run_changes" \
    "query top_tokens" "list queries" "list metrics" "diff 1 2"; do
    # shellcheck disable=SC2086
    piped() { exits 0 $c && lines "$quiet" && lines "$plain"; }
    t "$c: plain in a pipe" piped
    # shellcheck disable=SC2086
    shown() { term 100 $c && lines "BOLD and $quiet"; }
    t "$c: nothing of the file's steers a terminal" shown
done

# Columns line up: the pos of every token stands where its heading does, whatever is before it.
aligned() {
    exits 0 query "select text, 1234567 as seven from token where prompt_id = 1 and pos < 4" &&
        lines 'not s or (w == 17 and s.endswith(("  seven", "  1234567")))'
}
t "wide, combining and joined characters take their width" aligned
headings() { exits 0 query "select 'a' as text_column, 5 as number_column union all select 'bbb', 1000" && [ "$(cat "$out")" = "text_column  number_column
a                        5
bbb                   1000" ]; }
t "headings stand over their cells" headings
nulls() { exits 0 query "select null as n, null as t union all select 1, '-'" && [ "$(cat "$out")" = "n  t
-  NULL
1  -" ]; }
t "NULL is told from a text" nulls
spaces() { exits 0 query "select ' a b ' as t, 'x'||char(10)||'y' as u" && prints '^␣a b␣  x\\ny$'; }
t "spaces at the ends, and newlines, are seen" spaces

for w in 40 60 90; do
    for c in "query prompts" runs "list queries" "query tokens"; do
        # shellcheck disable=SC2086
        fits() { term "$w" $c && lines "BOLD and w <= $w" && [ "$(wc -l <"$out")" -gt 2 ]; }
        case $w$c in 40runs | 40*tokens) continue ;; esac # numbers and headings are wider
        t "$c fits $w columns" fits
    done
done
cut() { term 60 query prompts && prints '漢字.*…' && term 400 query prompts && ! prints …; }
t "long texts are cut with an ellipsis" cut
numbers() { term 20 query "select 123456789012 as a, 'some longer text' as b, 1e-5 as c, 987654321098 as d" && prints '123456789012 .* 1e-05 .*987654321098$'; }
t "numbers are never cut" numbers
columns() { COLUMNS=50 term 200 query prompts && lines 'BOLD and w <= 50'; }
t "COLUMNS is the width of a terminal" columns
nonsense() { COLUMNS=wide term 60 query prompts && lines 'BOLD and w <= 60' && ! says .; }
t "COLUMNS that is no number" nonsense
pipe() { COLUMNS=30 exits 0 query prompts && lines "$plain" && lines 'w != 30' && prints '漢字 漢字 漢字 漢字 漢字 漢字'; }
t "COLUMNS leaves a pipe alone" pipe
rtl() { term 100 query "select 'مرحبا' as t, 12 as n" && prints "$(printf 'مرحبا\342\200\216')" && exits 0 query "select 'مرحبا' as t, 12 as n" && ! prints "$(printf '\342\200\216')"; }
t "numbers after text from right to left stay in order on a terminal" rtl
bold() { term 80 runs && grep -q "$(printf '\033\\[1m')" "$out" && NO_COLOR=1 term 80 runs && ! grep -q "$(printf '\033')" "$out"; }
t "NO_COLOR" bold

# CSV and JSON carry the bytes.
csv() {
    exits 0 query "select pos, text, null as n, '' as e from token where prompt_id = 1 order by pos" --csv &&
        python3 - "$out" "$db" <<'END'
import csv, sqlite3, sys
have = list(csv.reader(open(sys.argv[1], encoding="utf-8", newline="")))
want = sqlite3.connect(sys.argv[2]).execute("select pos, text from token where prompt_id = 1 order by pos").fetchall()
assert have[0] == ["pos", "text", "n", "e"], have[0]
assert [r[:2] for r in have[1:]] == [[str(p), t or ""] for p, t in want]
raw = open(sys.argv[1], encoding="utf-8", newline="").read()
assert ',,""\n' in raw and "\x1b[31m" in raw
END
}
t "CSV reads back, NULL and empty texts apart" csv
one() { exits 0 query "select null as n union all select 'x'" --csv && [ "$(cat "$out")" = 'n
""
x' ]; }
t "CSV of one column has no empty lines" one
infinite() { exits 0 query "select 9e999 as a, -9e999 as b" --csv && prints '^inf,-inf$'; }
t "CSV of infinities" infinite
jsonl() {
    exits 0 query "select pos, text from token where prompt_id = 1 order by pos" --jsonl &&
        python3 - "$out" "$db" <<'END'
import json, sqlite3, sys
have = [json.loads(s) for s in open(sys.argv[1], encoding="utf-8")]
want = sqlite3.connect(sys.argv[2]).execute("select pos, text from token where prompt_id = 1 order by pos").fetchall()
assert [(r["pos"], r["text"]) for r in have] == want
END
}
t "JSON lines read back" jsonl
finish
