# Names of positions as observers see them: a prompt's own, as numbers and as text, and --span, while
# recording and from what was recorded.
. tests/cli/lib.sh
export HEADSCOPE_DB=$tmp/run.db
m=$DATA/llama_gqa.gguf
cat >"$tmp/p.jsonl" <<'END'
{"id": "a", "tokens": [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45], "spans": {"doc": [2, 6]}, "positions": {"Q": -3}}
{"id": "b", "tokens": [2, 50, 3, 49, 4, 48, 5, 47]}
END
same() {
    exits 0 query "SELECT count(*) AS n, sum(a.mass IS b.mass AND a.rows = b.rows AND a.position_from = b.position_from) AS same
                   FROM spans_mass AS a JOIN spans_mass AS b USING (prompt_id, layer, head, span)
                   WHERE a.analysis_run_id < b.analysis_run_id" --json && json "d['rows'] == [[$1, $1]]"
}
recorded() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe spans --span early=1:3 --span far=9:11 -q &&
        exits 0 query "SELECT DISTINCT p.label, span, position_from, position_to, rows FROM spans_mass
                       JOIN prompt AS p ON p.id = prompt_id ORDER BY 1, 3, 4 DESC" --json &&
        json "d['rows'] == [['a', 'early', 1, 3, 9], ['a', 'doc', 2, 6, 6], ['a', 'far', 9, 11, 1], ['a', 'Q', 9, 10, 2],
                            ['b', 'early', 1, 3, 5]]"
}
t "spans while recording" recorded
offline() { exits 0 observe 1 spans && same $((5 * 8)); }
t "and from the recorded run, equal to the bit" offline
shares() {
    exits 0 query "SELECT count(*), max(abs(t - 1)) < 1e-6 FROM (SELECT sum(value) AS t FROM v_head_metric
                   WHERE metric IN ('span_mass', 'span_sink', 'span_rest') GROUP BY prompt_id, layer, head)" --json &&
        json "d['rows'] == [[16, 1]]"
}
t "mass on spans, sink and rest is all there is" shares
chosen() {
    exits 0 observe 1 spans:of=doc?+0:2 && exits 0 query "SELECT DISTINCT span FROM spans_mass ORDER BY 1" --json &&
        json "d['rows'] == [['0:2'], ['Q'], ['doc'], ['early'], ['far']]"
}
t "some of them" chosen
unknown() { exits 5 observe 1 spans:of=doc && says "there is no span 'doc'"; }
t "a span that a prompt lacks" unknown
finish
