# Data sets: what each line promises, with the real tokenizer; round trips; wrong parameters.
. tests/cli/lib.sh
gguf=$DATA/llama_gqa.gguf

listed() {
    exits 0 list datasets --json && cp "$out" "$tmp/list" &&
        for set in ioi colored_objects greater_than docstring gendered agreement; do
            grep -q "\"$set\"" "$tmp/list" || return 1
        done
}
t "list datasets" listed
explained() { exits 0 help ioi && prints 'S1_next' && prints 's2_io' && prints '2211\.00593'; }
t "help on a data set" explained
dashes() { exits 0 help dataset greater-than && prints '^greater_than '; }
t "a '-' in a name means '_': help" dashes

# ---- wrong parameters -----------------------------------------------------------------------
few() { exits 2 dataset ioi -m "$gguf" && says "words need a tokenizer"; }
t "words without a tokenizer" few
t "words without a model" exits 2 dataset gendered --n-vocab 40
words() { # the words that are one token each, and those that are not
    exits 2 dataset ioi -m "$DATA/tok_smollm" --n-vocab 480 && says 'Mary, John would do, but not Anna, '
}
t "too few words" words
t "no such flip" exits 2 dataset ioi:corrupt=abd -m "$gguf"
t "no such template" exits 2 dataset ioi:template=15 -m "$gguf"
t "no such attractor" exits 2 dataset agreement:attractor=1 -m "$gguf"
t "no pairs" exits 2 dataset docstring:n=0 -m "$gguf"
unknown() { exits 5 dataset colored-object -m "$gguf" && says 'colored_objects'; }
t "no such data set" unknown

# ---- long prompts ---------------------------------------------------------------------------
long_listed() { for set in bigram_backcopy kv_json mqar needle passkey qa; do grep -q "\"$set\"" "$tmp/list" || return 1; done; }
exits 0 list datasets --json && cp "$out" "$tmp/list"
t "list datasets has the long ones" long_listed
t "sentences without a tokenizer" exits 2 dataset needle --n-vocab 40
short() { exits 2 dataset needle:lengths=90 -m "$DATA/tok_smollm" --n-vocab 480 && says "no room for the needle 'city' and its question: ask for lengths=[0-9]+ or more"; }
t "a needle that is too long" short
enough() { exits 0 dataset "needle:n=1,lengths=$(sed -n 's/.*lengths=\([0-9]*\) or more/\1/p' "$err")" -m "$DATA/tok_smollm" --n-vocab 480; }
both() { short && enough; }
t "and fits what was said" both
printf '{"needle": "The key is under the mat.", "question": "Where?", "answer": "on the mat"}\n' >"$tmp/needles.jsonl"
absent() { exits 3 dataset "needle:needles=$tmp/needles.jsonl" -m "$DATA/tok_smollm" --n-vocab 480 && says "needles.jsonl:1: the answer 'on the mat' does not stand in its needle"; }
t "an answer that is not in its needle" absent
ids_alone() { exits 0 dataset mqar:n=2,vocab=40 --n-vocab 60 && cp "$out" "$tmp/a" && exits 0 dataset mqar:vocab=40,n=2 --n-vocab 60 && cmp "$out" "$tmp/a" && exits 0 dataset bigram-backcopy:n=2,symbols=20 --n-vocab 60; }
t "ids need no model" ids_alone

# ---- questions with answers, in two parts -----------------------------------------------------
asks_listed() { for set in kv_lookup lost_middle two_choice yes_no; do grep -q "\"$set\"" "$tmp/list" || return 1; done; }
t "list datasets has those that ask" asks_listed
asks() {
    exits 0 dataset lost-middle:n=3,part=held_out -m "$DATA/tok_smollm" --n-vocab 480 && python3 - "$out" <<'END'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
assert [d["id"] for d in lines] == ["h0", "h1", "h2"]
for d in lines:
    assert d["choices"][d["answer"]] == d["answer_text"] and d["part"] == "held_out"
    assert d["spans"]["doc%d" % d["gold"]] == d["spans"]["gold"] and len(d["choices"]) == 4
    assert all(0 <= a < b <= len(d["tokens"]) for a, b in d["spans"].values())
END
}
t "choices, answer and spans of a line" asks
t "no such part" exits 2 dataset two_choice:part=test -m "$DATA/tok_smollm" --n-vocab 480

# ---- the real tokenizer ---------------------------------------------------------------------
if ! [ -f "$REAL" ]; then
    skip "data sets with the real tokenizer" "no model"
    finish
    exit
fi

# check NAME[:k=v,...] EXPR: twice the same lines, whose halves differ in their words only and whose
# positions point at them, by decoding single tokens; and EXPR of each line d, its words w and c.
cat >"$tmp/check.py" <<'END'
import json, subprocess, sys

hs, model, path, expr = sys.argv[1:]
lines = [json.loads(l) for l in open(path, encoding="utf-8")]
assert len(lines) == 20
ids = sorted({i for d in lines for i in d["tokens"] + d["corrupt_tokens"] + d.get("answers", []) +
              d.get("wrongs", []) + [d["answer"], d["wrong"]]})
vocab = json.loads(subprocess.run(
    [hs, "tokens", model, "-f", "-", "--json"], input=json.dumps({"tokens": ids}).encode(),
    capture_output=True, check=True).stdout)
piece = {t["id"]: t["piece"] for t in vocab["prompts"][0]["tokens"]}
for d in lines:
    a, b = d["tokens"], d["corrupt_tokens"]
    w, c, p = d["words"], d["corrupt_words"], d["positions"]
    assert len(a) == len(b) and a != b and d["bos_len"] == 0
    assert "".join(piece[i] for i in a) == d["text"]
    assert "".join(piece[i] for i in b) == d["corrupt_text"]
    assert piece[d["answer"]] == d["answer_text"] and piece[d["wrong"]] == d["wrong_text"]
    assert p["END"] == len(a) - 1 and d["answer"] != d["wrong"]
    for name in w:
        assert piece[a[p[name]]].strip() == w[name] and piece[b[p[name]]].strip() == c[name]
    for i, (x, y) in enumerate(zip(a, b)):
        assert (x != y) == any(p[n] == i and w[n] != c[n] for n in w)
    assert eval(expr), d
END
check() {
    exits 0 dataset "$1" -m "$REAL" -o "$tmp/a.jsonl" && exits 0 dataset "$1" -m "$REAL" &&
        cmp "$out" "$tmp/a.jsonl" &&
        python3 "$tmp/check.py" "$HEADSCOPE" "$REAL" "$tmp/a.jsonl" "$2"
}
t "ioi" check ioi:n=20 \
    'w["S1"] == w["S2"] != w["IO"] and d["answer_text"] == " " + w["IO"] and d["wrong_text"] == " " + w["S1"] and p["S1_next"] == p["S1"] + 1 and len({*w.values(), *c.values()}) == 5'
t "ioi, the other order and flip" check ioi:n=20,order=abba,corrupt=s2_io,template=0 \
    'p["IO"] < p["S1"] and c == {**w, "S2": w["IO"]} and len(a) == 17'
t "ioi with other names" check ioi:n=20,names=Mary+John+Tom+Anna+Paul 'sorted({*w.values(), *c.values()}) == "Anna John Mary Paul Tom".split()'
t "a '-' in a name means '_'" check colored-objects:n=20 \
    'w["COLOR"].title() == d["answer_text"].strip() and w["ASKED"] == w["OBJECT"] and c["ASKED"] == w["WRONG_OBJECT"] and d["wrong"] in d["wrongs"]'
t "greater_than" check greater_than:n=20 \
    'sorted(d["answers"] + d["wrongs"]) == sorted(set(d["answers"] + d["wrongs"])) and len(d["wrongs"]) == int(w["YY"]) + 1 and d["answer"] in d["answers"] and d["wrong"] in d["wrongs"] and all(piece[i] > w["YY"] for i in d["answers"])'
t "docstring" check docstring:n=20 \
    'w["DOC_M1"] == w["M1"] and c["DOC_M1"] != c["M1"] and d["answer_text"] == " " + w["M3"] and len({*w.values(), *c.values()}) == 14 and len(d["wrongs"]) == 5 and d["wrong"] in d["wrongs"] and d["answer"] not in d["wrongs"]'
t "gendered" check gendered:n=20,who=nouns '" the " + w["SUBJECT"] + " " in d["text"]'
t "gendered names" check gendered:n=20,who=names 'w["SUBJECT"].istitle()'
t "agreement" check agreement:n=20,attractor=opposite \
    'w["SUBJECT"].endswith("s") == (d["answer_text"] in (" are", " were", " have")) != w["ATTRACTOR"].endswith("s") and w["ATTRACTOR"] == c["ATTRACTOR"]'
refused() { # what it says is not a token is none, and it offers others
    exits 2 dataset ioi:names=Mary+Xanthippe+John+Tom+Anna -m "$REAL" &&
        says 'not: Xanthippe; these are: Mary, John, '
}
t "names that are not one token" refused
round_trip() {
    "$HEADSCOPE" dataset ioi:n=3,bos=yes -m "$REAL" -o "$tmp/i.jsonl" -q &&
        exits 0 tokens "$REAL" -f "$tmp/i.jsonl" --json && cp "$out" "$tmp/t.json" &&
        exits 0 tokens "$REAL" --dataset ioi:n=3,bos=yes --json && cmp "$out" "$tmp/t.json" &&
        exits 0 eval "$REAL" -f "$tmp/i.jsonl" --do ablate:L29H*,pos=S2+S1_next+END --json
}
t "lines are read back, and pos= takes their names" round_trip
# A needle from the generator through files to the model and back.
found() {
    exits 0 dataset needle:lengths=300,depths=2,n=1 -m "$REAL" -o "$tmp/needle.jsonl" &&
        exits 0 generate "$REAL" -f "$tmp/needle.jsonl" -n 5 --json &&
        json "[p['text'] for p in d['prompts']] == [' eat a warm plum tart'] * 2"
}
t "the model finds a needle" found
own() {
    python3 -c "print('\n\n'.join('Page %d of the report says that nothing happened.' % i for i in range(80)))" >"$tmp/book.txt"
    printf '{"needle": "The key is under the mat.", "question": "Where is the key?", "answer": "under the mat"}\n' >"$tmp/needles.jsonl"
    exits 0 dataset "needle:lengths=200,depths=3,file=$tmp/book.txt,needles=$tmp/needles.jsonl" -m "$REAL" &&
        python3 - "$out" <<'END'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
assert [d["depth"] for d in lines] == [0, 50, 100]
for d in lines:
    s, e = d["needle"]
    assert d["tokens"][s:e] == d["answer"] and d["text"].count("happened. The key is under the mat.") == (d["depth"] > 0)
    assert d["text"].endswith("Where is the key?\nAnswer: The key is") and 150 < len(d["tokens"]) <= 200
END
}
t "one's own needle in one's own haystack" own
finish
