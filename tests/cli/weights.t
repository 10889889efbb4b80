# headscope weights: what it prints and stores without a prompt, what reads it, what it refuses.
. tests/cli/lib.sh
ind2=$DATA/closed/ind2 m=$DATA/llama_gqa gpt2=$DATA/gpt2_bare
db=$tmp/weights.db

# gives NAME EXPR ARGS...: status 0, and JSON for which the expression holds.
gives() {
    what=$1 expr=$2
    shift 2
    gives_json() { exits 0 "$@" --json && json "$expr"; }
    t "$what" gives_json "$@"
}
# refuses NAME STATUS PATTERN ARGS...
refuses() {
    what=$1 status=$2 pattern=$3
    shift 3
    refuses_it() { exits "$status" "$@" && says "$pattern"; }
    t "$what" refuses_it "$@"
}

# ---- the numbers --------------------------------------------------------------------------------

gives "the hand-built induction model" "(lambda h: all(near(h[n]['ov_copying'], 1) and h[n]['copy_score'] == 1 for n in ('L1H0', 'L1H1'))
    and h['L0H0']['ov_copying'] is None and h['L0H1']['ov_norm'] == 0
    and near(h['L0H1']['qk_matching'], 1) and h['L1H1']['qk_rank'] is None)({x['name']: x for x in d['heads']})
    and [(c['writes'], c['reads']) for c in d['composition'] if c['kind'] == 'K' and near(c['value'], 1 / 3)] == [('L0H0', 'L1H0')]" \
    weights "$ind2" -o "$tmp/ind2.db" --composition 3 --tokens '#0,#3'
gives "why there is no number" "[(h['layer'], h['reason']) for h in d['heads']] == 2 * [(1, None)] + 2 * [(0, 'all eigenvalues are 0')]" \
    heads --metric ov_copying --db "$tmp/ind2.db"

# ---- what is stored and read ----------------------------------------------------------------------

gives "everything at once" "d['run'] == 1 and d['embed'] == 'token' and d['length'] == 64
    and len(d['tokens']) == 9 and d['tokens'] == sorted(set(d['tokens']))
    and [(h['layer'], h['head']) for h in d['heads']] == [(l, h) for l in range(len(d['heads']) // 4) for h in range(4)]
    and [c['kind'] for c in d['composition']] == ['Q'] * 4 + ['K'] * 4 + ['V'] * 4
    and all(a['value'] >= b['value'] or a['kind'] != b['kind'] for a, b in zip(d['composition'], d['composition'][1:]))
    and near(d['composition'][0]['random'], 32 ** -.5)
    and len(d['neurons']) == 5 and 1 >= d['neurons'][0]['probability'] >= d['neurons'][4]['probability'] > 0
    and {n['vector'] for n in d['neurons']} <= {'gate', 'up', 'down'}" \
    weights "$m" -o "$db" --composition 4 --neurons 5 --sample 9 --label circuits
cp "$out" "$tmp/all.json"
all="(lambda w: %s)(json.load(open('$tmp/all.json')))"
gives "heads reads it" "$(printf "$all" "{(h['layer'], h['head']): h['value'] for h in d['heads']} == {(h['layer'], h['head']): h['ov_copying'] for h in w['heads']}")" \
    heads --metric ov_copying --db "$db"
t "heatmap draws it" exits 0 heatmap --grid qk_matching -o "$tmp/grid.svg" --db "$db"
gives "its query says the same" "$(printf "$all" "[dict(zip(d['columns'], r)) for r in d['rows']] == w['heads']")" \
    query weights --param sort=head --db "$db"
gives "pairs of one kind" "len(d['rows']) == 3 and all(r[0] == 'V' for r in d['rows'])" \
    query weights_composition --param kind=V --param top=3 --db "$db"
gives "what neurons write" "len(d['rows']) == 2 and all(r[1] == 'down' for r in d['rows'])" \
    query weights_neurons --param vector=down --param top=2 --db "$db"
gives "no prompt is counted" "[(r['label'], r['status'], r['prompts'], r['tokens']) for r in d['runs']] == [('circuits', 'complete', 0, 0)]" \
    runs --db "$db"
refuses "an observer has nothing to look at" 5 'holds no prompt' observe 1 sinks --db "$db"
gives "a complete run is shown again" "$(printf "$all" "d['run'] == 1 and d['composition'] == [c for i, c in enumerate(w['composition']) if i % 4 < 2]")" \
    weights "$m" -o "$db" --composition 2 --neurons 5 --sample 9 --resume
gives "another embedding, no copying scores" "$(printf "$all" "d['run'] == 2 and all((h['ov_copying'] == o['ov_copying']) == (h['layer'] == 0) and h['copy_score'] is None for h, o in zip(d['heads'], w['heads']))")" \
    weights "$m" -o "$db" --embed mlp0 --sample 0 --resume
gives "pairs of a run without them" "d['rows'] == []" query weights_composition --run 2 --db "$db"
gives "a bound for prompts of two tokens" "all(0 <= h['spectral_bound_nats'] < math.log(2) / 2 for h in d['heads'])" \
    weights "$gpt2" -o "$db" --length 2 --sample 0
csv() { exits 0 weights "$gpt2" -o "$db" --sample 0 --csv && [ "$(wc -l <"$out")" = 7 ]; }
t "CSV has a line a head" csv
people() { exits 0 weights "$m" -o "$db" --composition 2 --neurons 2 --top 3 && prints '^K-composition' && prints 'heatmap 5 --grid ov_copying'; }
t "tables for people" people
threads() {
    for n in 1 3; do
        exits 0 weights "$m" -o "$tmp/threads.db" --threads $n --composition 9 --neurons 9 --json && sed 's/"run":[0-9]*//' "$out" >"$tmp/$n.json" || return 1
    done
    cmp "$tmp/1.json" "$tmp/3.json"
}
t "equal on any number of threads" threads

# ---- what is refused ------------------------------------------------------------------------------

refuses "no model" 2 'no model' weights -o "$db"
refuses "a metric that is none" 2 "'copying'" weights "$m" --sort copying -o "$db"
refuses "neurons of a model without" 5 'no MLPs' weights "$ind2" --neurons 3 -o "$db"
refuses "an id outside the vocabulary" 2 '#ID' weights "$m" --tokens '#64' -o "$db"
refuses "text without a tokenizer" 2 '#17' weights "$m" --tokens ' Mary' -o "$db"
refuses "a number below 0" 2 'from 0 on' weights "$m" --neurons -1 -o "$db"
gives "nothing of these was begun" "len(d['runs']) == 5" runs --db "$db"
if [ -f "$REAL" ]; then
    refuses "names of several tokens" 2 "' Bartholomew': not single tokens.*these are: ' Mary', ' John'" \
        weights "$REAL" --tokens ' Mary, John, Bartholomew' -o "$db"
    gives "names of one" "len(d['tokens']) == 4 and d['heads'][24 * 9 + 5]['copy_score'] >= .5" \
        weights "$REAL" --tokens ' Tom, Anna, Paul, Kate' -o "$db"
fi
finish
