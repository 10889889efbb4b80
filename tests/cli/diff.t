# headscope diff: two runs of one file and of two, what is refused, and every form of output.
. tests/cli/lib.sh

m=$DATA/llama_gqa
db=$tmp/d.db
export HEADSCOPE_DB=$db
cat >"$tmp/p.jsonl" <<'END'
{"id":"a","tokens":[3,4,5,6,3,4,5,6]}
{"id":"b","tokens":[9,8,7,6,5]}
END
cat >"$tmp/q.jsonl" <<'END'
{"id":"b","tokens":[9,8,7,6,4]}
{"id":"a","tokens":[3,4,5,6,3,4,5,6]}
{"id":"c","tokens":[1,2]}
END
rec() { hs record "$m" -o "$db" "$@"; }
rec -f "$tmp/p.jsonl" --maps all --acts logits
rec -f "$tmp/p.jsonl" --maps all --acts logits
rec -f "$tmp/q.jsonl" --maps all
rec -f "$tmp/p.jsonl" --precision bf16 --maps all --acts logits

same() {
    exits 0 diff 1 2 --json &&
        json 'd["run_a"] == 1 and d["run_b"] == 2 and d["metric"] is None and d["same_model"]' &&
        json 'all(x["value"] in (0, None) and x["mean_abs"] == 0 for x in d["metrics"])' &&
        json '{"entropy_nats", "rows.first", "maps"} <= {x["metric"] for x in d["metrics"]}' &&
        json 'all(p["same_tokens"] and p["nll_a"] == p["nll_b"] > 0 for p in d["prompts"])'
}
t "a run and its twin" same

# Both read by other means: the change is what heads and query say.
means() {
    exits 0 heads 1 --metric entropy_nats --json && cp "$out" "$tmp/a" &&
        exits 0 heads 4 --metric entropy_nats --json && cp "$out" "$tmp/b" &&
        exits 0 diff 1 4 --metric entropy_nats --top 0 --json &&
        TMP=$tmp json '(lambda of: all(near(h["a"], of("a")[h["layer"], h["head"]]) and
            near(h["b"], of("b")[h["layer"], h["head"]]) and near(h["value"], h["b"] - h["a"])
            and h["prompts"] == 2 for h in d["heads"]) and any(h["value"] for h in d["heads"]) and
            [abs(h["value"]) for h in d["heads"]] == sorted((abs(h["value"]) for h in d["heads"]), reverse=True))(
            lambda k: {(h["layer"], h["head"]): h["value"] for h in
            json.load(open(__import__("os").environ["TMP"] + "/" + k))["heads"]})'
}
t "means and changes of a metric" means
maps() {
    exits 0 query "select max(abs(x.weight - y.weight)), avg(abs(x.weight - y.weight)) from prompt p
        join map m on m.prompt_id = p.id and m.layer = 1 and m.head = 0 join prompt q on q.run_id = 4 and q.label = p.label
        join map n on n.prompt_id = q.id and n.layer = 1 and n.head = 0
        join token t on t.prompt_id = p.id join att_keys(m.id, t.pos) x join att_keys(n.id, t.pos) y on y.key = x.key
        where p.run_id = 1" --json && cp "$out" "$tmp/a" &&
        exits 0 diff 1 4 --metric maps --top 0 --json &&
        TMP=$tmp json '[(h["a"] is None and near(abs(h["largest"]), w[0], 1e-12) and near(h["value"], w[1], 1e-12)
            and w[0] > 0) for h in d["heads"] if (h["layer"], h["head"]) == (1, 0)
            for w in json.load(open(__import__("os").environ["TMP"] + "/a"))["rows"]] == [True]'
}
t "maps, against SQL" maps
rows() { exits 0 diff 1 4 --metric rows.first --top 3 --json && json 'len(d["heads"]) == 3 and all(h["largest"] and h["row"] >= 0 and h["prompt"] in "ab" for h in d["heads"])'; }
t "row summaries" rows

# Prompts go by their ids; other tokens leave metrics comparable, but no rows.
others() {
    exits 0 diff 1 3 --json && json '[(p["id"], p["same_tokens"]) for p in sorted(d["prompts"], key=lambda p: p["id"])] == [("a", True), ("b", False)]' &&
        json 'd["prompts"][0]["id"] == "b" and d["prompts"][0]["nll_a"] is None' &&
        json 'all(x["value"] == 0 for x in d["metrics"] if x["metric"].startswith("rows."))' &&
        json 'any(x["largest"] and x["prompt"] == "b" for x in d["metrics"] if x["metric"] == "entropy_nats")'
}
t "prompts of other tokens" others
told() { exits 0 diff 1 3 && prints '^2 prompts of the same id, 1 of other tokens: .*; 1 only in b$'; }
t "what is not shared is told" told
left_out() { exits 0 diff 1 3 --metric maps --top 0 --json && json 'all(h["prompts"] == 1 and h["value"] == 0 for h in d["heads"])' && json '[p["mean_abs"] for p in d["prompts"]] == [0, None]'; }
t "maps of other tokens are left out" left_out
one() { exits 0 diff 1 3 --prompt a --metric entropy_nats --json && json 'len(d["prompts"]) == 1 and all(h["value"] == 0 and h["prompts"] == 1 for h in d["heads"])'; }
t "one prompt" one
t "a prompt that only one has" exits 5 diff 3 1 --prompt c
t "no such prompt" exits 5 diff 1 2 --prompt z

two() {
    hs record "$m" -f "$tmp/p.jsonl" -o "$tmp/e.db" --precision bf16 --maps L0H1 &&
        exits 0 diff --db "$db" --db2 "$tmp/e.db" 1 --metric maps --json &&
        json 'd["db_b"].endswith("e.db") and d["run_b"] == 1 and d["heads"][0]["layer"] == 0 and d["heads"][0]["head"] == 1 and d["heads"][0]["value"] > 0' &&
        json 'all(h["value"] is None and h["prompts"] == 0 for h in d["heads"][1:])'
}
t "two files" two
latest() { exits 0 diff --db "$db" --db2 "$tmp/e.db" --json && json 'd["run_a"] == 4 and d["run_b"] == 1'; }
t "two files, the latest of each" latest

csv() { exits 0 diff 1 4 --metric entropy_nats --top 2 --csv && [ "$(head -n 1 "$out")" = layer,head,a,b,value,mean_abs,largest,prompt,row,prompts ] && [ "$(wc -l <"$out")" = 3 ]; }
t "CSV" csv
jsonl() { exits 0 diff 1 4 --jsonl && [ "$(head -n 1 "$out" | cut -c1-10)" = '{"metric":' ]; }
t "JSON lines" jsonl
table() { exits 0 diff 1 4 && prints '^a: run 1 of ' && prints '^prompts, by entropy_nats$' && prints '^maps  *- '; }
t "tables" table

hs record "$DATA/gpt2_bare" -f "$tmp/p.jsonl" -o "$tmp/other.db"
heads() { exits 5 diff 1 1 --db2 "$tmp/other.db" && says 'layers of .* heads'; }
t "other layers or heads" heads
metric() { exits 5 diff 1 2 --metric nothing && says 'entropy_nats.*rows.entropy.*maps'; }
t "no metric of that name" metric
t "no row summary of that name" exits 5 diff 1 2 --metric rows.nothing
t "one run" exits 2 diff 1
t "the same run" exits 2 diff 1 1
t "no such run" exits 5 diff 1 99
t "no such file" exits 1 diff 1 1 --db2 "$tmp/none.db"
t "--top below 0" exits 2 diff 1 2 --top -1
finish
