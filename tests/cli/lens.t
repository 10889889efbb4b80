# The lens and direct logit attribution from the command line: the numbers of heads.md 0.6 of the
# methods, sums that come out, tables, JSON, queries and figures, and what is refused.
. tests/cli/lib.sh
ind2=$DATA/closed/ind2
head -n 1 "$ind2/prompts.jsonl" >"$tmp/twice.jsonl"
printf '%s\n' '{"id":"a","tokens":[3,1,4,1,5,9,2,6],"answer":5,"wrong":8,"positions":{"S":2}}' \
    '{"id":"b","tokens":[2,7,1],"answer":1,"wrong":0,"positions":{"S":0}}' >"$tmp/two.jsonl"
printf '%s\n' '{"id":"c","tokens":[1]}' >"$tmp/one.jsonl"
db=$tmp/lens.db

# gives EXPR ARGS...: the command's JSON is so
gives() {
    expr=$1
    shift
    exits 0 "$@" --json && json "$expr"
}

# ---- the hand-built induction model ---------------------------------------------------------------

toy() {
    gives "(lambda p, a, head: $1)(d['prompts'][0], d['prompts'][0]['dla'],
           {(h['layer'], h['head']): h['value'] for h in d['prompts'][0]['dla']['heads']})" \
        lens "$ind2" -f "$tmp/twice.jsonl" --pos 15 --dla 4,minus=7 --by source -o "$db"
}
t "the toy model's logit difference" toy "near(a['logit'], 9.910676) and a['token'] == 4 and a['minus'] == 7"
t "is 9.941926 of 1.0" toy 'near(head[1, 0], 9.941926)'
t "less 0.031250 of 1.1" toy 'near(head[1, 1], -.03125, 1e-9)'
t "and 0" toy "head[0, 0] == head[0, 1] == a['embed'] == a['bias'] == 0 and a['mlp'] == [] and abs(a['rest']) < 1e-6"
t "all of it from the token after the copy" toy \
    "[round(v, 3) for v in a['sources'][2]['values']] == [0] * 7 + [-.003, 9.949] + [0] * 6 + [-.003]"
t "the lens knows nothing before layer 1" toy "[r['rank'] for r in p['rows']] == [4, 4, 0] and
    near(p['rows'][0]['kl'], p['rows'][1]['kl'], 1e-12) and p['rows'][2]['kl'] == 0 and p['final_top'] == 4"
t "which layer says it first" gives "[r[d['columns'].index(k)] for r in d['rows'] for k in ('token', 'first', 'stays', 'best_rank')] == [4, 1, 1, 0]" \
    query lens_first --db "$db"
t "heads have it as a metric" gives "{(h['layer'], h['head']): round(h['value'], 6) for h in d['heads']} ==
    {(0, 0): 0, (0, 1): 0, (1, 0): 9.941926, (1, 1): -.03125}" \
    heads --db "$db" --metric dla
t "and their sources as a series" exits 0 heatmap --db "$db" --over-positions dla_source -o "$tmp/source.svg"
same_norm() {
    exits 0 lens "$ind2" -f "$tmp/twice.jsonl" --pos all --norm frozen --csv -o "$db" &&
        cp "$out" "$tmp/frozen.csv" &&
        exits 0 lens "$ind2" -f "$tmp/twice.jsonl" --pos all --csv -o "$db" && cmp -s "$out" "$tmp/frozen.csv"
}
t "without a norm frozen is recomputed" same_norm

# ---- both families --------------------------------------------------------------------------------

frozen_last() {
    exits 0 lens "$model" -f "$tmp/two.jsonl" --pos all --json -o "$db" && cp "$out" "$tmp/all.json" &&
        gives "(lambda e: all(p['rows'][-1] == q['rows'][-1] and p['rows'][0] != q['rows'][0]
            for p, q in zip(d['prompts'], e['prompts'])))(json.load(open('$tmp/all.json')))" \
            lens "$model" -f "$tmp/two.jsonl" --pos all --norm frozen -o "$db"
}
mean_of() {
    exits 0 lens "$model" -f "$tmp/two.jsonl" --pos S+END --dla answer,minus=wrong --json -o "$db" && cp "$out" "$tmp/all.json" &&
        gives "(lambda e: all(near(h['value'], sum(x['value'] for p in e['prompts'] for x in p['dla']['heads']
            if (x['layer'], x['head']) == (h['layer'], h['head'])) / 4, 1e-12) for h in d['heads']))(json.load(open('$tmp/all.json')))" \
            heads --db "$db" --metric dla
}
for family in llama_gqa gpt2_masks; do
    model=$DATA/$family
    every() {
        gives "$1" lens "$model" -f "$tmp/two.jsonl" --pos all --dla top --by neuron --top 3 --track 3,5 -o "$db"
    }
    t "$family: every position of every prompt" every \
        "[(p['id'], p['position']) for p in d['prompts']] == [('a', i) for i in range(8)] + [('b', i) for i in range(3)]"
    t "$family: a row a layer, and one before" every "all([r['layer'] for r in p['rows']] == list(range(-1, len(p['rows']) - 1)) and
        [r['point'] for r in p['rows'][:2]] == ['blocks.0.hook_resid_pre', 'blocks.0.hook_resid_post'] for p in d['prompts'])"
    t "$family: the last row is the end" every "all(p['rows'][-1]['kl'] == 0 == p['rows'][-1]['rank'] and
        p['rows'][-1]['top'] == p['final_top'] for p in d['prompts'])"
    t "$family: parts add up" every "all(abs(a['embed'] + a['bias'] + sum(h['value'] for h in a['heads']) + sum(a['mlp']) - a['logit']) < 1e-3 and
        abs(a['rest']) < 1e-3 and a['token'] == p['final_top'] and near(a['logit'], p['rows'][-1]['logit'], 1e-4) and
        len(a['neurons']) == 3 and len(a['mlp']) == len(p['rows']) - 1 for p in d['prompts'] for a in [p['dla']])"
    t "$family: tokens are followed" every "all([x['token'] for x in p['track']] == [3, 5] and
        [r['layer'] for r in x['rows']] == [r['layer'] for r in p['rows']] and
        all(0 <= r['prob'] <= 1 and r['rank'] >= 0 for r in x['rows']) for p in d['prompts'] for x in p['track'])"
    t "$family: names of positions, and answers" gives \
        "[(p['id'], p['position'], p['dla']['token'], p['dla']['minus']) for p in d['prompts']] ==
         [('a', 2, 5, 8), ('a', 7, 5, 8), ('b', 0, 1, 0), ('b', 2, 1, 0)]" \
        lens "$model" -f "$tmp/two.jsonl" --pos S+END --dla answer,minus=wrong -o "$db"
    t "$family: the metric is the mean of positions and prompts" mean_of
    t "$family: frozen is recomputed at the last layer alone" frozen_last
done
people() {
    exits 0 lens "$model" -f "$tmp/two.jsonl" --dla top --track 3 -o "$db" "$@"
}
follows() { people && prints 'next: headscope query dla --run [0-9]+' && prints '^ranks of' && prints 'logit of [0-9]+: '; }
t "people are told what comes next" follows
again() { people --resume && says 'is complete already'; }
t "a complete run stays as it is" again
for q in lens lens_track lens_first dla; do
    t "query $q" gives "len(d['rows']) > 1" query $q --db "$db"
done
t "the largest parts come first" gives "len(d['rows']) == 3 and sorted(d['rows'], key=lambda r: -abs(r[1])) == d['rows']" \
    query dla --db "$db" --param part=head --param top=3
t "as a grid" exits 0 heatmap --db "$db" --grid dla -o "$tmp/dla.png"
figure() {
    exits 0 lens "$model" -f "$tmp/two.jsonl" --pos 0+1+2 -o "$db" && exits 0 heatmap --db "$db" --lens -o "$tmp/lens.svg" &&
        grep -q 'What the model would say after each layer' "$tmp/lens.svg" && grep -q '"value">prob<' "$tmp/lens.svg" &&
        exits 0 heatmap --db "$db" --lens --value rank --prompt b -o "$tmp/lens.svg" && grep -q '"value">rank<' "$tmp/lens.svg"
}
no_lens() { exits 0 record "$model" -f "$tmp/one.jsonl" -o "$tmp/other.db" && exits 5 heatmap --db "$tmp/other.db" --lens -o "$tmp/no.svg" && says 'headscope lens'; }
t "a figure of the lens" figure
apart() { exits 0 lens "$model" -f "$tmp/two.jsonl" --pos 0+2 -o "$db" && exits 0 heatmap --db "$db" --lens --value kl -o "$tmp/lens.png"; }
t "of positions that are apart" apart
t "none of another run" no_lens
broken() {
    python3 - "$db" "$1" <<'END' && exits 3 heatmap --db "$db" --lens -o "$tmp/no.svg" && says 'damaged'
import sqlite3, sys
d = sqlite3.connect(sys.argv[1])
d.execute("UPDATE lens_row SET " + sys.argv[2])
d.commit()
END
}
t "a damaged lens: a layer is missing" broken 'layer = 7 WHERE layer = 1'
t "a damaged lens: positions below 0" broken 'position = -3 WHERE position = 0'
t "KL over the layers" exits 0 heatmap --db "$db" --over-layers lens_row.kl -o "$tmp/kl.svg"
t "a prompt of one token looks at itself" gives "all(len(s['values']) == 1 for s in d['prompts'][0]['dla']['sources'])" \
    lens "$model" -f "$tmp/one.jsonl" --dla top --by source -o "$db"

# ---- bad input ------------------------------------------------------------------------------------

# no PATTERN ARGS...: wrong usage, told so
no() {
    pattern=$1
    shift
    exits 2 lens "$model" -f "$tmp/two.jsonl" -o "$tmp/none.db" "$@" && says "$pattern"
}
t "a position past the end" no "prompt 'b'.*3" --pos 5
lacking() {
    gives "[(p['id'], p['position']) for p in d['prompts']] == [('a', 4)]" lens "$model" -f "$tmp/two.jsonl" --pos '4?' --dla top --by source -o "$db" &&
        exits 0 lens "$model" -f "$tmp/two.jsonl" --pos '4?' --dla top -o "$db" && prints '^logit lens of 1 position:'
}
t "a prompt that lacks the position" lacking
nowhere() { exits 5 lens "$model" -f "$tmp/two.jsonl" --pos '9?' -o "$tmp/none.db" && says 'pos 9.: no prompt has it'; }
t "all of them" nowhere
unnamed() { exits 5 lens "$model" -f "$tmp/two.jsonl" --pos S2 -o "$tmp/none.db" && says "no span 'S2'"; }
t "a name that no prompt has" unnamed
t "no position at all" no 'position' --pos 1.5
t "a token past the vocabulary" no 'must lie in 0' --dla 100000000
t "a text without a tokenizer" no 'tokenizer' --track the
t "a token twice" no 'twice' --track 3,3
t "minus top" no 'minus' --dla 3,minus=top
t "an unknown --by" no 'neuron and source' --dla top --by layer
t "--by alone" no 'goes with --dla' --by neuron
t "sources of several positions" no 'choose it with --pos' --dla top --by source --pos all
lacks() { exits 2 lens "$model" -f "$tmp/one.jsonl" --dla answer -o "$tmp/none.db" && says "prompt 'c' says no \"answer\""; }
t "an answer that a prompt lacks" lacks
t "neurons where there are none" exits 2 lens "$ind2" -f "$tmp/twice.jsonl" --dla top --by neuron -o "$tmp/none.db"
t "nothing was written" test ! -e "$tmp/none.db"
older() {
    exits 0 lens "$model" -f "$tmp/one.jsonl" -o "$tmp/old.db" &&
        python3 -c "import sqlite3; c = sqlite3.connect('$tmp/old.db'); c.execute('ALTER TABLE lens_row RENAME COLUMN kl TO was')" &&
        exits 3 lens "$model" -f "$tmp/one.jsonl" -o "$tmp/old.db" && says 'old.db: its table lens_row has other columns.*another file'
}
t "a database of another version" older
finish
