# Interventions as users meet them: --do of record, eval and generate, every kind, what is stored
# with a run and used again, and what is refused.
. tests/cli/lib.sh
export HEADSCOPE_DB=$tmp/run.db
m=$DATA/llama_gqa.gguf # 2 layers of 4 heads on 2 KV heads, width 32
cat >"$tmp/p.jsonl" <<'END'
{"id": "a", "tokens": [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45]}
{"id": "b", "tokens": [2, 50, 3, 49, 4, 48, 5, 47, 6, 46, 7, 45, 8, 44]}
{"id": "c", "tokens": [60, 60, 61, 61, 62, 62, 63, 63]}
END
python3 - "$tmp" <<'END'
import struct, sys
def npy(name, rows, shape):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }" % (shape,)
    head += " " * (-(len(head) + 11) % 64) + "\n"
    data = [v for row in rows for v in row]
    with open(f"{sys.argv[1]}/{name}.npy", "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack(f"<{len(data)}f", *data))
npy("vec", [[(k % 5 - 2) / 4 for k in range(32)]], (32,))
npy("narrow", [[1.0] * 31], (31,))
npy("rows@3", [[(k % 7 - 3) / 2 + r for k in range(32)] for r in range(3)], (3, 32))
END
score() { exits 0 eval "$m" -f "$tmp/p.jsonl" --json "$@"; }
score && cp "$out" "$tmp/base.json"

# ---- every kind -----------------------------------------------------------------------------

cat >"$tmp/edits" <<END
ablate:L0H1
ablate:L0G1+L1H0
ablate:L1M
ablate:L0
ablate:L1N7+L1N8
ablate:L0H*,mode=mean
ablate:L0H*,mode=mean,by=position,pos=3:6
ablate:L0G0,mode=mean,reference=prompt
ablate:L1H2,mode=resample,seed=4
ablate:L1H2,mode=resample,from=b,prompts=a+2
ablate:L0H3,mode=uniform
ablate:all,mode=bos
knock:L*H*,from=4:,to=1
knock:L0H0,from=-2,to=late
patch:z:1,heads=L1H0,from=prompt:b,prompts=0
patch:v+pattern,from=prompt:1
scale:L0H2,by=0.5
scale:L1M,by=-1
steer:resid_pre:1,vec=$tmp/vec.npy,scale=2
steer:resid_post,vec=$tmp/vec.npy,mode=project,pos=2:
concentric:late,grid=1x3
concentric:2:6,grid=2x2,mask=no
concentric:2:6,grid=2x2
temper:L*,t=2
temper:L0H0,t=1,log=0.3
mask:sink_recent,s=1,w=2
mask:topk,k=2,heads=L0H*
mask:keys,keys=0+late
norm:sigmoid
norm:softplus
norm:softplus,p=15
norm:relu,heads=L1H*
norm:relu,by=n
norm:softmax1
norm:clipped,gamma=-0.1
norm:sink,s=1
norm:softpick
boost:late
middle:L*,docs=0:2+late
middle:L1H0,docs=0:2+late,dummy=7,rule=shift,by=0.5
middle:L0,docs=0:2+late,bias=0.1+0
act:L*,alpha=1.2
act:L1H*,rule=abs,thr=0.05,pos=4:
var:L0,span=late,dims=0+3+5,tau=1,rho=0,prefilter=0
boost:0+late,alpha=-0.5,rows=all,heads=L0H*
vhr:L*,span=late
vista:steer,span=late,lambda=0.5
vista:steer,span=0,rule=paper,layers=1
vista:mix,w=1
contrast:without,span=0,beta=0
contrast:outliers,span=late,k=1,layer=0,alpha=0.5,beta=0
contrast:shuffled,span=late,beta=0
vhr:L0H*,span=0+late,keep=1,pos=1:,alpha=0.5
END
real() {
    score --do "$1" --span late=2:5 &&
        json "(b := json.load(open('$tmp/base.json'))) and d['tokens'] == b['tokens'] == 31 and
              d['baseline_nll'] == b['nll'] != d['nll'] and d['kl'] > 0"
}
while read -r spec; do t "--do ${spec#"$tmp"}" real "$spec"; done <"$tmp/edits"

cat >"$tmp/same" <<END
scale:L0H2+L1M+L0,by=1
ablate:L0H*,mode=mean,reference=prompt,by=position
patch:z+resid_post+pattern,from=prompt:a,prompts=a
freeze:resid_mid+q+attn_scores
steer:resid_pre,vec=$tmp/vec.npy,scale=0
concentric:3,grid=1x1
temper:L*,t=1
mask:sink_recent,s=0,w=99
mask:topk,k=99
mask:keys,keys=0:
boost:2:5,alpha=0,rows=all
middle:L*,docs=0:2+2:5,by=0
act:L*,alpha=1.2,beta=1
var:L*,span=2:5,dims=0+3,tau=1,p=0
vhr:L*,span=2:4,alpha=1
vista:steer,span=2:4,lambda=0
vista:mix,w=1,gamma=0
contrast:without,span=2:4,alpha=0,beta=0
norm:softmax
norm:clipped,gamma=0,zeta=1
END
same() {
    score --do "$1" && json "(b := json.load(open('$tmp/base.json'))) and
                             d == dict(b, baseline_nll=b['nll'], baseline_perplexity=b['perplexity'], kl=0)"
}
while read -r spec; do t "--do ${spec#"$tmp"} is no edit" same "$spec"; done <"$tmp/same"

# What is given as input belongs to the prompt, and is no edit to compare with.
cat >"$tmp/inputs" <<END
embeds:2,file=$tmp/rows@3.npy
embeds:late,file=$tmp/rows@3.npy,prompts=a+1
END
input() { score --do "$1" --span late=2:5 && json "d['nll'] != json.load(open('$tmp/base.json'))['nll'] and 'kl' not in d"; }
while read -r spec; do t "--do ${spec#"$tmp"} is input" input "$spec"; done <"$tmp/inputs"

every_kind() {
    exits 0 list interventions --json && json "all(any(s.startswith(k['name'] + ':') for f in ('edits', 'same', 'inputs')
                                                       for s in open('$tmp/' + f)) for k in d['interventions'])"
}
t "these are all kinds" every_kind

embedded() {
    score --embeds "$tmp/rows@3.npy@2" && cp "$out" "$tmp/embedded" && score --do "embeds:2,file=$tmp/rows@3.npy" && cmp -s "$out" "$tmp/embedded" &&
        score --embeds "$tmp/rows@3.npy@image" --span image=2:5 && cmp -s "$out" "$tmp/embedded" &&
        score --do scale:L0H2,by=1 --embeds "$tmp/rows@3.npy@2" && json "(b := json.load(open('$tmp/embedded'))) and
            d['kl'] == 0 and d['nll'] == d['baseline_nll'] == b['nll']" &&
        score --do ablate:L0H1 --embeds "$tmp/rows@3.npy@2" && json "(b := json.load(open('$tmp/embedded'))) and
            d['kl'] > 0 and d['nll'] != d['baseline_nll'] == b['nll']"
}
t "--embeds is input, before the edits that --do names" embedded
twice() {
    score --embeds "$tmp/rows@3.npy@0" --embeds "$tmp/rows@3.npy@5" && cp "$out" "$tmp/two" &&
        score --embeds "$tmp/rows@3.npy@5" --embeds "$tmp/rows@3.npy@0" && cmp -s "$out" "$tmp/two" &&
        ! cmp -s "$out" "$tmp/embedded"
}
t "--embeds again" twice
kept() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --embeds "$tmp/rows@3.npy@2" --do ablate:L0H1 -o "$tmp/embeds.db" -q &&
        exits 0 show 1 --db "$tmp/embeds.db" --json &&
        json 'd["options_json"]["do"][0]["file_hash"] and [i["kind"] for i in d["interventions"]] == ["embeds", "ablate"]'
}
t "a run keeps it" kept
no_embeds() { exits 2 eval "$m" -f "$tmp/p.jsonl" --embeds "$2" && says "$1"; }
t "embeddings without a place" no_embeds 'takes FILE.npy@START' "$tmp/vec.npy"
t "embeddings at no place" no_embeds 'takes FILE.npy@START' "$tmp/vec.npy@"
t "embeddings with a comma" no_embeds 'a comma' "$tmp/a,b.npy@1"
t "embeddings beyond a prompt" no_embeds 'prompt 2: 3 embeddings from position 6 on, and the prompt has 8' "$tmp/rows@3.npy@6"
t "embeddings of another model" no_embeds 'narrow.npy: its rows are 31 wide' "$tmp/narrow.npy@1"
no_versions() { exits 2 eval "$m" -f "$tmp/p.jsonl" --embeds "$tmp/rows@3.npy@2" --do "$1" && says 'by its tokens alone'; }
t "embeddings beside a prompt without a span" no_versions 'vhr:L*,span=0'
t "embeddings beside another branch" no_versions 'contrast:without,span=0'
t "embeddings beside what the prompt has without" no_versions freeze:attn_out
t "embeddings beside a mean over prompts without" no_versions ablate:L0H0,mode=mean,reference=prompts
beside() { score --embeds "$tmp/rows@3.npy@2" --do "ablate:L0H0,mode=mean,reference=$tmp/p.jsonl" && json 'd["kl"] > 0'; }
t "embeddings beside a mean over a file" beside

in_order() {
    score --do scale:L1H0,by=2 --do ablate:L1H0,mode=mean && cp "$out" "$tmp/last" && score --do ablate:L1H0,mode=mean &&
        cmp -s "$out" "$tmp/last" && score --do ablate:L1H0,mode=mean --do scale:L1H0,by=2 && ! cmp -s "$out" "$tmp/last"
}
t "edits fire in the order given" in_order
undone() { score --do ablate:L0 --do freeze:blocks.0.hook_resid_post && json 'd["kl"] == 0'; }
t "what is frozen hides the edits before it" undone
by_file() {
    score --do ablate:L0H0,mode=mean && cp "$out" "$tmp/prompts" &&
        score --do "ablate:L0H0,mode=mean,reference=$tmp/p.jsonl" && cmp -s "$out" "$tmp/prompts" &&
        score --do ablate:L0H0,mode=mean,reference=repeat:k=4+n=2 && ! cmp -s "$out" "$tmp/prompts"
}
t "a mean over a file, and over a data set" by_file
alone() {
    score --do ablate:L1,mode=mean,prompts=b --per-token &&
        json "(b := json.load(open('$tmp/base.json'))) and [p['kl'] > 0 for p in d['prompts']] == [False, True, False] and
              all(p['token_nll'] == p['baseline_token_nll'] for p in d['prompts'] if p['id'] != 'b')"
}
t "one prompt of several" alone
later() {
    score --do ablate:L0,pos=5 --per-token &&
        json 'all(p["token_kl"][:5] == [0] * 5 and min(p["token_kl"][5:]) > 0 for p in d["prompts"])'
}
t "nothing before the position changes" later
people() {
    exits 0 eval "$m" -f "$tmp/p.jsonl" --do ablate:L0 && prints '^prompt .* nll .*base +kl$' &&
        prints '^unedited [0-9.]+, perplexity' &&
        exits 0 eval "$m" -f "$tmp/p.jsonl" --do ablate:L0 --per-token --csv && prints '^prompt,position,token,nll,baseline_nll,kl$'
}
t "a table for people, and rows for programs" people
threads() {
    for spec in ablate:L0H0,mode=mean patch:pattern,from=prompt:c,pos=:8 norm:relu; do
        score --do $spec --threads 1 && cp "$out" "$tmp/one" && score --do $spec --threads 3 && cmp -s "$out" "$tmp/one" || return 1
    done
}
t "threads change nothing" threads

# Maps of unedited runs lie in a file: 8 MB of them here, of which memory sees nothing, and one for
# many prompts.
memory() {
    python3 - "$HEADSCOPE" "$DATA/closed/uniform" "$tmp" <<'END'
import json, resource, subprocess, sys
tool, model, at = sys.argv[1:]
with open(f"{at}/long.jsonl", "w") as f: f.write(json.dumps({"tokens": [i % 16 for i in range(1024)]}) + "\n")
peak = lambda: resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
for spec in ("scale:L0H0,by=2", "freeze:pattern+attn_scores"):
    before = peak()
    subprocess.run([tool, "eval", model, "-f", f"{at}/long.jsonl", "--do", spec], check=True, stdout=subprocess.DEVNULL)
sys.exit(peak() - before > 4096 and f"#   {peak() - before} kB more")
END
}
if [ -z "${HS_SANITIZED-}" ]; then t "maps that are referred to take no memory" memory; else skip "maps that are referred to take no memory" "sanitized"; fi
many() {
    python3 -c 'for i in range(300): print({"tokens": [i % 64, 3]})' | tr "'" '"' >"$tmp/many.jsonl"
    (ulimit -n 100 && exits 0 eval "$m" -f "$tmp/many.jsonl" --do freeze:pattern --json && json 'd["kl"] == 0') &&
        (ulimit -n 100 && exits 0 record "$m" -f "$tmp/many.jsonl" --do freeze:pattern -o "$tmp/many.db" -q)
}
t "many prompts take few files" many

# ---- recordings -----------------------------------------------------------------------------

record() { exits 0 record "$m" -f "$tmp/p.jsonl" --acts z,resid_post,logits --maps all "$@"; }
t "a run as it is" record
t "a run under three edits" record --do ablate:L0H1,mode=mean --do 'temper:L0-1H2,t=2' --do ablate:L1H0,mode=uniform,pos=2: --baseline 1
stored() {
    exits 0 show 2 && prints '^ +0 +ablate +ablate:L0H1,mode=mean$' && prints '^ +1 +temper +temper:L0-1H2,t=2$' &&
        exits 0 query 'SELECT baseline_run_id FROM run WHERE id = 2' --json && json 'd["rows"] == [[1]]'
}
t "show tells them" stored
edited_maps() {
    exits 0 attend 2 --prompt b --head L1H0 --from 9 --top 20 --json &&
        json 'len(d["keys"]) == 10 and all(near(k["weight"], .1) for k in d["keys"])' &&
        exits 0 attend 2 --prompt b --head L1H0 --from 1 --top 20 --json && json 'not near(d["keys"][0]["weight"], .5, 1e-4)'
}
t "maps are the edited ones" edited_maps
hidden() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe hidden_sinks:alpha=1.2 -o "$tmp/act.db" -q &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --do act:L0H*,alpha=1.2,beta=0 -o "$tmp/act.db" -q || return 1
    for head in 0 1 2 3; do
        exits 0 query "SELECT position FROM hidden_sinks_found f JOIN analysis_run r ON r.id = f.analysis_run_id JOIN prompt p
                       ON p.id = r.prompt_id WHERE p.label = 'b' AND layer = 0 AND head = $head ORDER BY 1" --db "$tmp/act.db" --json &&
            cp "$out" "$tmp/found.json" && exits 0 attend 2 --db "$tmp/act.db" --prompt b --head L0H$head --from -1 --top 20 --json &&
            json "0 < len(s := [r[0] for r in json.load(open('$tmp/found.json'))['rows']]) < 13 and
                  s == sorted(k['position'] for k in d['keys'] if k['weight'] == 0)" || return 1
    done
}
t "act takes all from the hidden sinks that hidden_sinks finds" hidden
again() {
    record -o "$tmp/again.db" && record -o "$tmp/again.db" --do "@$tmp/run.db:2" --baseline 1 || return 1
    PYTHONPATH=tests/cli python3 -c 'import dbcheck, sys
sys.exit(dbcheck.differs(*(dbcheck.content(p) for p in sys.argv[1:])))' "$tmp/run.db" "$tmp/again.db"
}
t "@RUN: as that run was edited, equal in every table" again
no_maps() {
    exits 3 record "$m" -f "$tmp/p.jsonl" --do concentric:2:6,grid=2x2 --maps all -o "$tmp/c.db" && says 'rows that see later ones' &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --do concentric:2:6,grid=2x2,mask=no --maps all -o "$tmp/c.db" &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --do concentric:2:6,grid=2x2 -o "$tmp/c.db"
}
t "maps of rows that see later ones are not stored" no_maps
other_runs() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --do ablate:L0H0 --resume -o "$tmp/r.db" -q &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --do ablate:L0H0,mode=zero --resume -o "$tmp/r.db" && says 'run 1 is complete already' &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --do ablate:L0H0,pos=1 --resume -o "$tmp/r.db" --json && json 'd["run"] == 2' &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --resume -o "$tmp/r.db" --json && json 'd["run"] == 3' &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --do ablate:L0H0 --do ablate:L0H0 --resume -o "$tmp/r.db" --json && json 'd["run"] == 4'
}
t "--resume goes by what the edits do" other_runs
changed_file() {
    cp "$tmp/vec.npy" "$tmp/v.npy"
    steered() { exits 0 record "$m" -f "$tmp/p.jsonl" --do "steer:resid_pre,vec=$tmp/v.npy" --resume -o "$tmp/s.db" --json && json "d['run'] == $1"; }
    steered 1 && steered 1 && printf @ | dd of="$tmp/v.npy" bs=1 seek=130 conv=notrunc 2>"$err" && steered 2
}
t "and by what their files hold" changed_file

from_run() { score --do "patch:z+resid_post+logits+pattern,from=$1" && json 'd["kl"] == 0 and d["nll"] == d["baseline_nll"]'; }
t "patched with its own recording, a run is itself" from_run 1
t "the same from another file" from_run "$tmp/again.db:1"
moved() {
    score --do patch:resid_post:0,from=2 --per-token && cp "$out" "$tmp/patched" &&
        score --do ablate:L0H1,mode=mean --do temper:L0H2,t=2 --per-token && cmp -s "$out" "$tmp/patched"
}
t "patched with an edited recording, it goes on as that did" moved
while_recording() {
    record --do patch:z:0+pattern:1,from=1 && python3 - "$tmp/run.db" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
one, three = (db.execute("select ord, name, pos0, data from act_chunk join act on act.id = act_id join prompt "
                         "on prompt.id = prompt_id where run_id = ? order by 1, 2, 3", (run,)).fetchall() for run in (1, 3))
assert len(one) > 10 and one == three
END
}
t "from a run of the database that is recorded into" while_recording
positions() {
    score --do patch:z,heads=L1G1,pos=-1,from=2 --per-token && json 'all(min(p["token_kl"]) == max(p["token_kl"]) == 0 for p in d["prompts"])' &&
        score --do patch:z,heads=L1G1,pos=-2,from=2 --per-token && json 'all(max(p["token_kl"][:-1]) == 0 < p["token_kl"][-1] for p in d["prompts"])'
}
t "by head and position" positions

# ---- decoding -------------------------------------------------------------------------------

tokens() { exits 0 generate "$m" -f "$tmp/p.jsonl" -n 8 --json "$@"; }
decoded() {
    tokens && cp "$out" "$tmp/plain" && tokens --do norm:softmax --do scale:L0,by=1 && cmp -s "$out" "$tmp/plain" &&
        tokens --do ablate:L0H*+L1H* && ! cmp -s "$out" "$tmp/plain"
}
t "generate" decoded
# Rows past the prompt are edited as those of it: half of the new tokens as a longer prompt give the
# other half.
longer() {
    for spec in concentric:2:6,grid=2x2 ablate:L0H*,mode=mean,reference=repeat:k=4 temper:L1H1,t=3 mask:sink_recent,s=1,w=3 norm:softplus \
        ablate:all,mode=uniform steer:resid_post:0,vec=$tmp/vec.npy,mode=project; do
        tokens --do "$spec" && cp "$out" "$tmp/new" && python3 - "$tmp" <<'END' &&
import json, sys
at = sys.argv[1]
new = json.load(open(f"{at}/new"))["prompts"]
with open(f"{at}/long.jsonl", "w") as f:
    for p, n in zip(map(json.loads, open(f"{at}/p.jsonl")), new):
        f.write(json.dumps({"id": p["id"], "tokens": p["tokens"] + n["tokens"][:4]}) + "\n")
END
            exits 0 generate "$m" -f "$tmp/long.jsonl" -n 4 --json --do "$spec" &&
            json "[p['tokens'] for p in d['prompts']] == [p['tokens'][4:] for p in json.load(open('$tmp/new'))['prompts']]" || return 1
    done
}
t "tokens that are decoded are edited as the prompt's are" longer
recorded() {
    tokens --do temper:L1H1,t=3 && cp "$out" "$tmp/new" && exits 0 record "$m" -f "$tmp/p.jsonl" --generate 8 --do temper:L1H1,t=3 &&
        exits 0 query 'SELECT ord, token_id FROM token JOIN prompt ON prompt.id = prompt_id
                       WHERE run_id = (SELECT max(id) FROM run) AND decoded ORDER BY ord, pos' --json &&
        json "d['rows'] == [[i, t] for i, p in enumerate(json.load(open('$tmp/new'))['prompts']) for t in p['tokens']]"
}
t "as record --generate decodes" recorded
beyond() {
    for spec in freeze:attn_out ablate:L0H0,mode=mean,by=position ablate:L0H0,mode=mean,reference=prompt,by=position patch:z,from=1 patch:pattern,from=prompt:a,prompts=a; do
        tokens --do "$spec" || return 1
    done
}
t "references without such rows leave them alone" beyond
resampled() { tokens --do ablate:L0H0,mode=resample && cp "$out" "$tmp/one" && tokens --do ablate:L0H0,mode=resample && cmp -s "$out" "$tmp/one"; }
t "resampling while decoding" resampled

# ---- what is refused ------------------------------------------------------------------------

# refused STATUS PATTERN SPEC: the same from all commands, and nothing is recorded
refused() {
    cp "$tmp/run.db" "$tmp/before.db"
    for c in eval 'generate -n 8' record; do
        exits "$1" $c "$m" -f "$tmp/p.jsonl" --do "$3" && says "$2" || return 1
    done
    cmp "$tmp/run.db" "$tmp/before.db"
}
no() { t "refused: ${3#"$tmp"}" refused "$@"; }
no 5 "no intervention 'melt': they are ablate, .*temper" melt:L0H0
no 2 'a target comes first, as in ablate:' ablate
no 2 'a target comes first' ablate:mode=zero
no 2 "'L2H0' does not exist: layers are 0 to 1" ablate:L2H0
no 2 'heads 0 to 3' ablate:L0H4
no 2 'mode=half: one of zero' ablate:L0H0,mode=half
no 2 "'colour' is not known" ablate:L0H0,colour=red
no 2 'given twice' ablate:L0H0,pos=1,pos=2
no 2 'position 13 does not exist' ablate:L0H0,pos=13
no 2 'prompt 2: position 9 does not exist' ablate:L0H0,pos=9
no 5 'late' ablate:L0H0,pos=late
no 5 "no prompt 'z'" ablate:L0H0,prompts=z
no 2 'L0M is no head' ablate:L0M,mode=uniform
no 1 'reference=/nowhere.jsonl' ablate:L0H0,mode=mean,reference=/nowhere.jsonl
no 5 "no prompt 'z'" ablate:L0H0,mode=resample,from=z
no 2 'has only 8' ablate:L0H0,mode=resample,from=c,prompts=a,pos=9
no 5 'zz' patch:zz,from=1
no 2 'where values come from' patch:z
no 2 'can be read but not edited' patch:row_stats,from=1
no 2 'not a run' patch:z,from=one
no 5 'no run 99' patch:z,from=99
no 1 'nowhere.db' patch:z,from=/nowhere.db:1
no 5 "run 1 did not store blocks.0.attn.hook_q: record it again with --acts" patch:q,from=1
no 2 'share keys and values: write L0G0' freeze:v,heads=L0H0
no 5 'no run 99' @99
no 5 'run 1 was under no intervention' @1
no 1 'none.npy' "steer:resid_pre,vec=$tmp/none.npy"
no 2 'narrow.npy.*31' "steer:resid_pre,vec=$tmp/narrow.npy"
no 2 'the span has 4 positions, and a grid of 2 x 3 has 6' concentric:2:6,grid=2x3
no 2 'written HxW' concentric:2:6,grid=2
no 2 "'none' is none of sink_recent" mask:none
no 2 'w= is for mask:sink_recent, and this is mask:topk' mask:topk,w=3
no 2 'zeta= is for norm:clipped, and this is norm:relu' norm:relu,zeta=2
no 2 'reference= is for mode=mean, and this is mode=zero' "ablate:L0H0,mode=zero,reference=$tmp/p.jsonl"
no_file() { exits 2 record "$m" -f "$tmp/p.jsonl" --do ablate:L2 -o "$tmp/none.db" && [ ! -e "$tmp/none.db" ]; }
t "what is refused makes no database" no_file
alone_refused() {
    head -n 1 "$tmp/p.jsonl" >"$tmp/one.jsonl"
    exits 2 eval "$m" -f "$tmp/one.jsonl" --do ablate:L0H0,mode=resample && says 'no other prompt'
}
t "a resample pool of one" alone_refused
twice_named() { exits 2 eval "$m" -f "$tmp/p.jsonl" --do ablate:L0 --span x=0:1 --span x=1:2 && says 'x is given twice'; }
t "two spans of a name" twice_named
t "a span past the end that is used" exits 2 eval "$m" -f "$tmp/p.jsonl" --do ablate:L0,pos=x --span x=5:600
shorter() {
    sed 's/, 45\]/]/' "$tmp/p.jsonl" >"$tmp/other.jsonl"
    exits 2 eval "$m" -f "$tmp/other.jsonl" --do patch:z,from=1 && says 'has 12 tokens, not 11'
}
t "a recorded prompt of another length" shorter
other_model() { exits 2 eval "$DATA/gpt2_bare" -f "$tmp/p.jsonl" --do "patch:z,from=1" && says 'of another model'; }
t "a recording of another model" other_model
t "no baseline run" exits 5 record "$m" -f "$tmp/p.jsonl" --baseline 99
finish
