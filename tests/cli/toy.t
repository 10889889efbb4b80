# The hand-built induction model under edits, from the command line: the ablation numbers of heads.md
# 0.6 of the methods, half a unit of the last place off at most. Losses are those of queries 9 to 15,
# the second copy, where the model can know what comes next.
. tests/cli/lib.sh
ind2=$DATA/closed/ind2
head -n 1 "$ind2/prompts.jsonl" >"$tmp/twice.jsonl"

# loss SPEC EXPR: what EXPR says of d(elta), base, edited and kl, means over the queries
loss() {
    exits 0 eval "$ind2" -f "$tmp/twice.jsonl" --per-token --json --do "$1" &&
        json "(lambda base, edited, kl: (lambda delta: $2)(edited - base))(
              *(sum(d['prompts'][0][k][9:16]) / 7 for k in ('baseline_token_nll', 'token_nll', 'token_kl')))"
}
dnll() { t "$1 costs $2" loss "$1" "near(delta, $2, 6e-7) and near(base, .000387, 6e-7)"; }
dnll ablate:L0H0,mode=zero 2.604862
dnll ablate:L0H0,mode=uniform 2.782415
for mode in zero mean uniform bos; do dnll ablate:L0H1,mode=$mode 0; done
dnll ablate:L1H0,mode=zero 2.213131
dnll ablate:L1H0,mode=uniform 2.604862
dnll ablate:L1H0,mode=mean 2.441156
dnll ablate:L1H0,mode=mean,reference=prompt 2.441156
dnll ablate:L1H1,mode=zero -0.000007
t "uniform attention made uniform is itself" loss ablate:L1H1,mode=uniform 'delta == 0 and kl == 0'
t "a real edit moves the distribution" loss ablate:L1H0 'kl > 1'

# Gate gradients: (loss(1 + e) - loss(1 - e)) / 2e.
gate() { exits 0 eval "$ind2" -f "$tmp/twice.jsonl" --precision f64 --per-token --json --do "scale:$1,by=$2"; }
slope() {
    gate "$1" 1.002 && cp "$out" "$tmp/up.json" && gate "$1" 0.998 &&
        json "near((sum(json.load(open('$tmp/up.json'))['prompts'][0]['token_nll'][9:16]) -
                    sum(d['prompts'][0]['token_nll'][9:16])) / 7 / .004, $2, 1e-6)"
}
t "the slope of 0.0's gate" slope L0H0 -0.000142
t "the slope of 1.0's gate" slope L1H0 -0.003854
finish
