# Hand-built models whose numbers are known in closed form, from the command line. The digits are
# those of the tables they come from: heads.md 0.6 of the methods, half a unit of the last place off
# at most.
. tests/cli/lib.sh
export HEADSCOPE_DB=$tmp/run.db
ind2=$DATA/closed/ind2

t "record the induction model" exits 0 record "$ind2" -f "$ind2/prompts.jsonl" --observe stripes,echo

# is METRIC PROMPT L0H0 L0H1 L1H0 L1H1
is() {
    exits 0 heads --metric "$1" --prompt "$2" --sort head --json &&
        json "all(near(h['value'], x, 6e-7) for h, x in zip(d['heads'], [$3, $4, $5, $6], strict=True))"
}
t "previous token" is previous twice .997159 .170001 .114390 .152472
t "duplicate token" is duplicate twice .000334 .996157 .000340 .076323
t "induction" is induction twice .000334 .000334 .995750 .076323
t "self" is self_mass twice .059138 .058877 .166774 .202327
t "first token" is first_mass twice .062793 .170001 .114390 .152472
t "entropy" is entropy_nats twice .024069 .640561 .771016 1.970887
t "echo" is echo four .000666 .996740 .000344 .090913
t "echo's induction" is echo_induction four .000666 .000334 .996443 .090913

# Uniform attention: entropy of row i is ln(i + 1), the first token gets 1 / (i + 1).
uniform=$DATA/closed/uniform
t "record uniform attention" exits 0 record "$uniform" -f "$uniform/prompts.jsonl" -o "$tmp/uniform.db"
entropy() {
    exits 0 heads --db "$tmp/uniform.db" --metric entropy_nats --prompt 64 --json &&
        json 'all(near(h["value"], sum(math.log(i + 1) for i in range(64)) / 64, 1e-6) for h in d["heads"])'
}
t "entropy of uniform attention" entropy
first() {
    exits 0 heads --db "$tmp/uniform.db" --metric sink_alpha0 --prompt 40 --json &&
        json 'all(near(h["value"], sum(1 / (i + 1) for i in range(40)) / 40, 1e-7) for h in d["heads"])'
}
t "first token under uniform attention" first

# Four rows written by hand: [1] [.6 .4] [.3 .5 .2] [.2 .6 .1 .1].
rows4=$DATA/closed/rows4
t "record the four rows" exits 0 record "$rows4" -f "$rows4/prompts.jsonl" --maps all --observe sinks -o "$tmp/rows4.db"
four() { exits 0 heads --db "$tmp/rows4.db" --metric "$1" --json && json "near(d['heads'][0]['value'], $2, 6e-7)"; }
t "sink_alpha0 of the four rows" four sink_alpha0 .525
t "entropy of the four rows" four entropy_nats .697891
t "self_mass of the four rows" four self_mass '(1 + .4 + .2 + .1) / 4'
t "previous of the four rows" four previous '(.6 + .5 + .1) / 3'
t "first_mass of the four rows" four first_mass '(.6 + .3 + .2) / 3'
t "max_weight of the four rows" four max_weight '(1 + .6 + .5 + .6) / 4'
t "distance of the four rows" four distance '(0 + .6 + 1.1 + (.6 + 1.2 + .1)) / 4'
row() {
    exits 0 attend --db "$tmp/rows4.db" --head L0H0 --from 3 --json &&
        json '[k["position"] for k in d["keys"]] == [1, 0, 2, 3] and near(d["keys"][0]["weight"], .6)'
}
t "a row, strongest first" row
finish
