#!/bin/sh
# gallery.sh BUILD DOCS: records texts with the default model and draws every kind of figure into
# DOCS/gallery, with DOCS/gallery.md as their contact sheet. Each picture is a line of `pictures`
# below: file, what it shows, and the options that draw it.
set -eu

build=${1:?usage: gallery.sh BUILD DOCS}
docs=${2:?usage: gallery.sh BUILD DOCS}
hs=$build/headscope
model=$build/models/SmolLM2-135M-Instruct.Q4_1.gguf
texts=$docs/examples
work=$build/gallery
db=$work/gallery.db
pages=$docs/gallery.md
mkdir -p "$work" "$docs/gallery"
rm -f "$db" "$docs"/gallery/*.png

# A text as a prompt with an id.
prompt() {
    text=$(sed -e 's/\\/\\\\/g; s/"/\\"/g; s/\t/\\t/g' "$2" | awk '{ printf "%s%s", (NR > 1 ? "\\n" : ""), $0 }')
    printf '{"id": "%s", "text": "%s"}\n' "$1" "$text"
}
{
    prompt story "$texts/story.txt"
    prompt lighthouse "$texts/lighthouse.txt"
    prompt scripts "$texts/scripts.txt"
} >"$work/texts.jsonl"
for i in 1 2 3 4 5 6 7 8; do cat "$texts/lighthouse.txt"; done >"$work/eight.txt"
prompt "lighthouse, eight times" "$work/eight.txt" >"$work/long.jsonl"
prompt story "$texts/story.txt" >"$work/story.jsonl"

cat >"$work/keys.jsonl" <<'END'
{"id": "keys", "text": "The blue key opens the northern gate. It was made by a smith called Anders. The red key opens the cellar below the kitchen. Nobody has used it since the war. The green key opens the music box of the old captain. Question: which key opens the cellar? Answer: the", "spans": {"blue": "The blue key opens the northern gate. It was made by a smith called Anders.", "red": "The red key opens the cellar below the kitchen. Nobody has used it since the war.", "green": "The green key opens the music box of the old captain."}}
END

echo "recording ..."
"$hs" record "$model" -f "$work/texts.jsonl" --maps all --store f16 \
    --observe sinks,stripes,drains,massive,spread -o "$db" -q
"$hs" record "$model" --dataset repeat:k=24,n=8 --observe stripes,echo -o "$db" -q
"$hs" record "$model" -f "$work/long.jsonl" --maps L18H6 --store f16 -o "$db" -q
echo "sweeping ..."
"$hs" sweep "$model" -f "$work/story.jsonl" --by gradient --prune asc,desc,random -o "$db" -q >/dev/null
echo "asking what heads are for ..."
"$hs" lens "$model" -p "The capital of France is Paris. The capital of Italy is" --pos all -o "$db" -q >/dev/null
"$hs" patch "$model" --dataset ioi:n=8,template=0 --point resid_pre --pos each -o "$db" -q >/dev/null
"$hs" patch "$model" --dataset ioi:n=8 --edges --top 40 -o "$db" -q >/dev/null
"$hs" retrieve "$model" --dataset needle:lengths=300,depths=5,n=1 --mask-k 0,1,2,5,10,20 --qa 20 -o "$db" -q >/dev/null
echo "editing ..."
"$hs" record "$model" -f "$work/keys.jsonl" --observe sinks,hidden_sinks,spans -o "$db" -q
"$hs" record "$model" -f "$work/keys.jsonl" --observe sinks,hidden_sinks,spans --do boost:red,heads=L5-28H*,alpha=0.5 -o "$db" -q

cat >"$pages" <<'END'
# Gallery

Every kind of figure that `headscope heatmap` draws, from real runs of SmolLM2-135M-Instruct (Q4_1).
`make gallery` draws this page anew. The runs:

```sh
headscope record SmolLM2-135M-Instruct.Q4_1.gguf -f texts.jsonl --maps all --store f16 --observe sinks,stripes,drains,massive,spread
headscope record SmolLM2-135M-Instruct.Q4_1.gguf --dataset repeat:k=24,n=8 --observe stripes,echo
headscope record SmolLM2-135M-Instruct.Q4_1.gguf -f long.jsonl --maps L18H6 --store f16
headscope sweep SmolLM2-135M-Instruct.Q4_1.gguf -f story.jsonl --by gradient --prune asc,desc,random
headscope lens SmolLM2-135M-Instruct.Q4_1.gguf -p "The capital of France is Paris. The capital of Italy is" --pos all
headscope patch SmolLM2-135M-Instruct.Q4_1.gguf --dataset ioi:n=8,template=0 --point resid_pre --pos each
headscope patch SmolLM2-135M-Instruct.Q4_1.gguf --dataset ioi:n=8 --edges --top 40
headscope retrieve SmolLM2-135M-Instruct.Q4_1.gguf --dataset needle:lengths=300,depths=5,n=1 --mask-k 0,1,2,5,10,20 --qa 20
headscope record SmolLM2-135M-Instruct.Q4_1.gguf -f keys.jsonl --observe sinks,hidden_sinks,spans
headscope record SmolLM2-135M-Instruct.Q4_1.gguf -f keys.jsonl --observe sinks,hidden_sinks,spans --do boost:red,heads=L5-28H*,alpha=0.5
```

Run 1 has three prompts: a short story with a repeated sentence, a longer one, and a text in many
scripts; run 2 random tokens that repeat, for the induction heads; run 3 the longer story eight times.
Run 4 estimates what each head is worth on the short story, run 5 edits more and more heads together.
Run 6 looks at two capitals layer by layer; runs 7 and 8 ask where sentences with two names keep the
answer, and along which edges it goes; run 9 hides five needles and asks twenty questions. Runs 10 and
11 read three documents about keys, as the model does and with every head made to look at the second.
Pictures end in `.png`, `.svg` or `.pdf`; `--dpi 300` is for print.
END

pictures() {
    cat <<'END'
# One head
map|An induction head. The short stripe is the sentence that comes twice, the bright column the attention sink.|1 --head L18H6
map-long|A previous-token head on 254 tokens: labels are thinned, never cut.|1 --prompt lighthouse --head L11H1
map-scripts|Tokens in any script, on a dark ground, with the colours of the data's own range. A token that is part of a character says which part.|1 --prompt scripts --head L5H1 --rows 5:62 --cols 5:62 --theme screen --cmap magma --range data
map-pooled|2,040 tokens: blocks of tokens share a cell, here by their largest weight, and the figure says so.|3 --head L18H6
map-part|A part of that map, token by token.|3 --head L18H6 --rows 276:312 --cols 16:60
# Several heads
layer|The heads of a layer.|1 --layer 18
heads|Any selection of heads.|1 --head L5H6,L11H1,L17H3,L18H6 --cmap blues
all|All 270 heads on one sheet.|1 --all
# Layer x head grids
grid|Metrics of every head: here the induction score, the mean over eight prompts.|2 --grid induction
grid-entropy|Mean row entropy, another colour map.|1 --grid entropy_nats --cmap cividis
# The text itself
strip-from|What one token looks at: the text, coloured by its attention.|1 --prompt lighthouse --strip --head L7H3 --from -1
strip-to|What looks at a token: the mean over all heads.|1 --prompt lighthouse --strip --to 40 --theme screen
strip-scripts|Right-to-left text, joined letters, emoji: tokens that share a character share its ground.|1 --prompt scripts --strip --layer 5 --from -1 --range 0:0.1
strip-marks|The tokens that ACT calls hidden sinks in this head are underlined: after the first one, the ones that take more than their share.|1 --prompt lighthouse --strip --head L10H5 --from -1 --mark hidden_sinks
# Curves
over-layers|A metric through the layers: every head, and their mean.|1 --over-layers sink_alpha0
over-layers-several|Several metrics.|1 --over-layers sink_alpha0,previous,self_mass
over-layers-column|A column of an observer's results: the norm of the first token's residual against the largest other.|1 --over-layers drains_peak.peak
over-positions|A row statistic along the text.|1 --over-positions entropy --head L0H0,L11H1,L18H6
over-positions-many|Many heads: their mean, and each as a faint line.|1 --prompt lighthouse --over-positions entropy --layer 10
over-positions-all|All heads: their mean, and between which values most of them lie.|1 --over-positions self
prune|How many heads the story needs: the loss as more and more are ablated together, in the order of what they are worth, and in random ones.|5 --prune
# What heads are for
lens|What the model would say at each position if it ended after each layer.|6 --lens
patch|How much of the answer comes with the residual of one position and layer, put into a run with other names: from the name, to the end.|7 --patch
circuit|The forty edges that carry most of the answer, by edge attribution.|8 --circuit
masking|What is left of needles in a long text, and of answers to questions about short ones, when the heads that look them up, or as many others, are masked.|9 --masking
overlap|Do the kinds of heads overlap? How many of their first ten each two metrics share, from two runs, and how alike they rank all heads.|2 --overlap induction,previous,duplicate,sink_alpha0,retrieval
# Before and after an edit
diff|What the edit did to every head: how spread its attention is, what the first token takes, and what the documents get.|10 11 --diff
moved|Where the attention went: what each token receives, before and after. The shaded ranges are the three documents.|10 11 --moved
# Bars
bar|The top heads by a metric, with the standard error over the prompts.|2 --bar induction --top 15
END
}

# All of them small, to be clicked.
sheet() {
    printf '\n<p>\n'
    pictures | while IFS='|' read -r name about options; do
        [ -z "$options" ] ||
            printf '<a href="#%s"><img src="gallery/%s.png" height="110" alt="%s"></a>\n' "$name" "$name" "$name"
    done
    printf '</p>\n'
}
sheet >>"$pages"

# A picture and its entry on the page.
draw() {
    # The options are words without blanks.
    # shellcheck disable=SC2086
    "$hs" heatmap $3 --db "$db" --dpi 100 -o "$docs/gallery/$1.png" -q
    printf '\n<a id="%s"></a>\n%s\n\n![%s](gallery/%s.png)\n\n```sh\nheadscope heatmap %s -o %s.png\n```\n' \
        "$1" "$2" "$1" "$1" "$3" "$1" >>"$pages"
    echo "  $docs/gallery/$1.png"
}
echo "drawing ..."
pictures | while IFS='|' read -r name about options; do
    case $name in
    '#'*) printf '\n#%s\n' "$name" >>"$pages" ;;
    *) draw "$name" "$about" "$options" ;;
    esac
done
