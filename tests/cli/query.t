# headscope query: every named query through the command line, own SQL that would do harm, limits, and
# what is said when something is missing.
. tests/cli/lib.sh

m=$DATA/llama_gqa.gguf
db=$tmp/q.db
export HEADSCOPE_DB=$db
printf '%s\n' '{"id": "a", "tokens": [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]}' \
    '{"id": "b", "tokens": [9, 8, 7, 9, 8, 7, 9, 8, 7, 9, 8, 7, 9]}' >"$tmp/p.jsonl"
hs record "$m" -f "$tmp/p.jsonl" --maps all --acts resid_post --observe sinks,hidden_sinks,stripes,massive --observe sink_tokens:dims=3+5,tau=1.2 --observe spans --span first=1:4 --span next=4:6 -o "$db"
hs record "$m" -f "$tmp/p.jsonl" --maps all --acts resid_post --observe sinks,hidden_sinks,stripes,massive --observe sink_tokens:dims=3+5,tau=1.2 --observe spans --span first=1:4 --span next=4:6 --precision bf16 -o "$db"

# ---- named queries

hs query --json
python3 -c 'import json, sys
for q in json.load(open(sys.argv[1]))["queries"]: print(q["name"])' "$out" >"$tmp/names"
t "there are twelve or more" [ "$(wc -l <"$tmp/names")" -ge 24 ]
while read -r word; do
    # Those of experiments say whose run it takes; the experiments' own tests ask them.
    runs() {
        hs query "$word" --json
        case $rc in
        0) json 'len(set(d["columns"])) == len(d["columns"]) and all(c.replace("_", "a").isalnum() for c in d["columns"])' ;;
        5) says ': a run of headscope [a-z]+( --[a-z]+)? has$' ;;
        *) false ;;
        esac
    }
    t "$word" runs
done <"$tmp/names"
rows='d["rows"] and all(len(r) == len(d["columns"]) for r in d["rows"])'
for word in sink_heads alike_heads like_head token_path head_prompts changed_heads changed_prompts run_changes head_kinds top_tokens layer_means head_rows; do
    gives() { exits 0 query "$word" --json && json "$rows"; }
    t "$word gives rows" gives
done
who() { exits 0 query who_looks --param position=0 --prompt a --json && json "$rows" && json 'all(0 < r[4] <= 1 for r in d["rows"])'; }
t "who_looks gives rows" who
one() { exits 0 query changed_prompts --prompt b --param metric=previous --param other=1 --json && json '[r[1] for r in d["rows"]] == ["b"] and d["rows"][0][-1] == 1'; }
t "one prompt of two runs" one
changes() { exits 0 query run_changes --json && json '["precision", "exact", "bf16"] in d["rows"]'; }
t "what two runs differ in" changes

# ---- where attention went

# Every row gives out 1, so that shares come to 1, and what some lose others get.
moved() { exits 0 query moved --param other=1 "$@" --json && json 'abs(sum(r[6] for r in d["rows"]) - 1) < 1e-5 and abs(sum(r[5] for r in d["rows"]) - 1) < 1e-5 and abs(sum(r[7] for r in d["rows"])) < 1e-5 and [r[0] for r in d["rows"]] == list(range(len(d["rows"]))) and all(near(r[4], r[3] - r[2]) and near(r[6], r[3] * (len(d["rows"]) - r[0]) / len(d["rows"])) for r in d["rows"])'; }
t "moved" moved
t "moved, of a layer" moved --param layer=1 --prompt b
t "moved, of a head" moved --param layer=0 --param head=1
first_token() { exits 0 query moved --param other=1 --param layer=1 --param head=0 --prompt a --json && json "open('$tmp/v', 'w').write(repr(d['rows'][0][3]))" && exits 0 heads --metric sink_alpha0 --prompt a --json && json "[near(h['value'], float(open('$tmp/v').read())) for h in d['heads'] if (h['layer'], h['head']) == (1, 0)] == [True]"; }
t "what the first token receives is its sink's mass" first_token
printf '%s\n' '{"id": "n", "tokens": [1, 2, 3, 4, 5, 6], "positions": {"END": -1, "S": 2}, "spans": {"a": [1, 3], "b": [-3, -1], "c": [0, 6], "empty": [2, 2], "far": [4, 9], "three": [1, 2, 3], "S": [0, 1]}}' \
    '{"id": "o", "tokens": [1, 2, 3]}' >"$tmp/s.jsonl"
named() {
    exits 0 record "$m" -f "$tmp/s.jsonl" --span a=0:1 --span z=1:3 --span most=2:6 -q -o "$tmp/spans.db" && exits 0 query spans --db "$tmp/spans.db" --json &&
        json '[(r[0], r[1], r[2], r[3], r[-1]) for r in d["rows"]] == [(0, "c", 0, 6, "spans"), (0, "a", 1, 3, "spans"), (0, "z", 1, 3, "--span"), (0, "S", 2, 3, "positions"), (0, "most", 2, 6, "--span"), (0, "b", 3, 5, "spans"), (0, "END", 5, 6, "positions"), (1, "a", 0, 1, "--span"), (1, "z", 1, 3, "--span")]'
}
t "spans" named
# A text is the tokens that cover it.
covered() {
    python3 - "$tmp/spans.db" <<'END'
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("""UPDATE prompt SET text = 'thé cat sat', extra_json = '{"spans": {"who": "cat", "what": "at s", "no": "dog", "all": "thé cat sat"}}' WHERE label = 'o'""")
for pos, (a, b) in enumerate([(0, 4), (4, 8), (8, 12)]):
    c.execute("UPDATE token SET byte_from = ?, byte_to = ? WHERE pos = ? AND prompt_id = (SELECT id FROM prompt WHERE label = 'o')", (a, b, pos))
c.commit()
END
    exits 0 query spans --prompt o --db "$tmp/spans.db" --json && json '[r[1:4] for r in d["rows"]] == [["a", 0, 1], ["all", 0, 3], ["who", 1, 2], ["what", 1, 3], ["z", 1, 3]]'
}
t "spans that are texts" covered
residual() {
    exits 0 query residual_sinks --json && json 'len(d["rows"]) > 2 and all(r[5] >= 1.2 and r[4] in (3, 5) for r in d["rows"])' &&
        json "open('$tmp/v', 'w').write(repr(sum(r[5] >= 1.5 for r in d['rows'])))" && exits 0 query residual_sinks --param tau=1.5 --json && json "len(d['rows']) == int(open('$tmp/v').read())"
}
t "residual_sinks" residual
given() {
    exits 0 query span_mass --param span=first --param top=99 --json && json 'd["rows"] and all(r[3] == "first" and 0 < r[4] < 1 and near(r[5], r[4] / 3) and r[6] == 2 for r in d["rows"]) and [r[4] for r in d["rows"]] == sorted((r[4] for r in d["rows"]), reverse=True)' &&
        exits 0 query span_mass --prompt a --param top=4 --json && json 'len(d["rows"]) == 4 and d["rows"][0][6] == 1'
}
t "span_mass" given

# ---- sets of heads

sets() { exits 0 query roles --param metrics=induction,-previous --param k=2 --json && json '[r[0] for r in d["rows"]] == ["induction"] * 2 + ["-previous"] * 2 and [r[1] for r in d["rows"]] == [1, 2, 1, 2]' && json 'd["rows"][2][3] <= d["rows"][3][3] and all(r[0] in r[5].split(", ") for r in d["rows"])'; }
t "roles" sets
overlaps() { exits 0 query overlap --param metrics=induction,sink_alpha0,-sink_alpha0 --json && json '[(r[0], r[1]) for r in d["rows"]] == [("induction", "sink_alpha0"), ("induction", "-sink_alpha0"), ("sink_alpha0", "-sink_alpha0")] and near(d["rows"][2][4], -1) and near(d["rows"][0][4], -d["rows"][1][4])'; }
t "overlap" overlaps
usual() { exits 0 query overlap --json && json 'len(d["rows"]) == 4 * 3 / 2 and {r[0] for r in d["rows"]} == {"induction", "previous", "duplicate"}'; }
t "overlap of the usual metrics" usual
own_sql() { exits 0 help query roles && prints 'FROM json_each' && ! prints '-- part:'; }
t "the parts of a query are in it" own_sql

# ---- what is missing

hs record "$m" -f "$tmp/p.jsonl" -o "$tmp/bare.db"
# shellcheck disable=SC2086
lacks() { exits 5 query $1 --db "$tmp/bare.db" && says "$2"; }
t "no maps" lacks like_head '--maps L0H0'
t "no sinks" lacks sink_heads '--observe sinks'
t "no stripes" lacks head_kinds '--observe stripes'
t "no second run" lacks changed_heads 'no earlier run'
t "no such other run" exits 5 query changed_heads --param other=77
t "no such metric" exits 5 query layer_means --param metric=nonsense
t "no such metric among several" lacks "roles --param metrics=previous,nonsense" "has a metric 'nonsense'"
t "a metric that no run has" lacks "overlap --param metrics=induction" '--observe stripes'
t "a number that is none" exits 2 query layer_means --param metric=previous --param top=3
t "a count that is none" exits 2 query alike_heads --param top=many
t "no pairs at all" exits 2 query alike_heads --param top=0

# ---- own SQL

while IFS= read -r sql; do
    t "refused: $sql" exits 2 query "$sql"
done <<'END'
attach 'x.db' as x
pragma journal_mode = wal
pragma user_version = 7
select * from pragma_optimize
select count(*) from pragma_journal_mode
select load_extension('x')
select fts3_tokenizer('simple')
create temp table x (a)
create table x (a)
create view x as select 1
create virtual table x using fts5(a)
insert into meta values ('a', 'b')
update run set label = 'x'
delete from run
drop table run
vacuum into 'x.db'
reindex run
begin immediate
savepoint x
select 1; delete from run
select zeroblob(1000000000)
select randomblob(1e9)
select hex(zeroblob(60000000))
select replace(hex(zeroblob(9000000)), '0', '0123456789')
select writefile('x', 'y')
select readfile('x')
select edit('x')
select * from sqlite_dbpage
select 1 limit 'a'
values (?)
select :a
END
same() { cp "$db" "$tmp/before" && hs query "update run set label = 'x' returning *" && return 1; cmp "$db" "$tmp/before" && [ ! -e x.db ] && [ ! -e x ]; }
t "nothing was written" same
t "tables that describe themselves" exits 0 query "select name from pragma_table_info('run')"
t "explain" exits 0 query "explain query plan select * from run"

while IFS= read -r sql; do
    t "refused: $sql" exits "${sql%% *}" query "${sql#* }"
done <<'END'
2 select att_row('a', 1)
2 select att_row(1.5, 1)
2 select att_row(x'00', 1)
2 select att_row(1)
5 select att_row(99999, 0)
5 select att_row(-1, 0)
2 select att_row(1, -1)
2 select att_row(1, 12)
2 select att_row(1, 9223372036854775807)
2 select att_at(1, 2, 12)
2 select att_at(1, 2, -1)
2 select att_at(1, 2, 'x')
2 select att_at(1, 2, 0.5)
3 select att_series('text')
3 select att_series(7)
3 select att_series(x'')
3 select att_series(x'48536634ffffffff00000000')
3 select att_series(data) from map_chunk
3 select att_nth(zeroblob(40), 0)
2 select att_nth(data, 'x') from series
2 select att_cosine(1, 'x')
5 select att_gap(1, 99999)
2 select att_alike(layer, head, data, 0) from series
2 select att_alike('x', head, data, 1) from series
3 select att_alike(layer, head, 'x', 1) from series
2 select * from att_keys(1)
2 select * from att_keys('x', 1)
3 select * from att_each('x')
2 select * from att_each
END
nulls() { exits 0 query "select att_row(null, 1), att_at(1, null, 2), att_series(null), att_nth(null, 1), att_cosine(null, 1), att_gap(1, null), att_alike(1, 1, null, 3), (select count(*) from att_each(null)), (select count(*) from att_keys(null, 2))" --json && json 'd["rows"] == [[None] * 7 + [0, 0]]'; }
t "NULL gives NULL" nulls
nth() { exits 0 query "select att_nth(data, 3) = json_extract(att_series(data), '\$[3]'), att_nth(data, -1), att_nth(data, n) from series limit 1" --json && json 'd["rows"] == [[1, None, None]]'; }
t "att_nth" nth
twin() { exits 0 query "select att_cosine(3, 3), att_gap(3, 3), att_at(3.0, 2, 1) = att_at(3, 2, 1)" --json && json 'near(d["rows"][0][0], 1) and d["rows"][0][1:] == [0, 1]'; }
t "a map is like itself" twin
sizes() { exits 2 query "select att_cosine(a.id, b.id) from map a, map b where a.n_q < b.n_q" && says 'of one size'; }
t "maps of two sizes" sizes
told() { exits 0 query --help && for f in att_row att_at att_series att_nth att_keys att_each att_cosine att_gap att_alike att_interval; do prints "$f" || return 1; done; }
t "--help tells the functions" told

# ---- limits

limit() { exits 0 query tokens --max-rows 3 --csv && [ "$(wc -l <"$out")" = 4 ] && says 'more rows than --max-rows 3'; }
t "--max-rows tells that it cut" limit
exact() { n=$(python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("select count(*) from token where prompt_id > 2").fetchone()[0])' "$db") && exits 0 query tokens --max-rows "$n" --json && ! says . && json "len(d['rows']) == $n"; }
t "as many rows as there are is no cut" exact
forever="with recursive n(i) as (select 1 union all select i + 1 from n)"
slow() { exits 1 query "$forever select count(*) from n" --max-seconds 0.2 && says '0.2 s.*--max-seconds'; }
t "--max-seconds" slow
sorted() { exits 1 query "$forever select i from n order by i desc limit 3" --max-seconds 0.2; }
t "--max-seconds while sorting" sorted
inner() { exits 1 query "$forever select sum(length(att_row(1, i % 8))) from n" --max-seconds 0.2 && says 'longer than'; }
t "--max-seconds within our functions" inner
first() { exits 0 query "$forever select i from n" --max-rows 5 --json && json 'd["rows"] == [[i] for i in range(1, 6)]'; }
t "the first rows of an endless query" first
t "--max-rows below 0" exits 2 query tokens --max-rows -1
t "--max-seconds below 0" exits 2 query tokens --max-seconds -1
stopped() {
    "$HEADSCOPE" query "$forever select count(*) from n" --max-seconds 0 >"$out" 2>"$err" </dev/null &
    pid=$!
    sleep 0.5
    kill -TERM "$pid"
    wait "$pid"
    [ $? = 130 ] && says interrupted
}
t "interrupted" stopped
finish
