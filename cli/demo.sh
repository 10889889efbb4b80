#!/bin/sh
# demo.sh BUILD: from a model to pictures of its heads, in a few commands.
set -eu

build=${1:?usage: demo.sh BUILD}
hs=$build/headscope
model=$build/models/SmolLM2-135M-Instruct.Q4_1.gguf
out=$build/demo
db=$out/demo.db
mkdir -p "$out"
rm -f "$db"

text="The old lighthouse stood at the edge of the bay. Every evening, the keeper climbed the \
narrow stairs and lit the lamp. One night a storm broke the windows, and the lamp went out. \
The keeper climbed the narrow stairs and lit the lamp again. Every ship in the bay came home."

say() {
    printf '\n%s\n' "$*"
}

# The strongest head of a metric, as L5H1.
strongest() {
    "$hs" heads --db "$db" --run "$1" --metric "$2" --top 1 --csv |
        awk -F, 'NR == 2 { print "L" $1 "H" $2 }'
}

say "Recording a paragraph, every attention map with it ..."
"$hs" record "$model" -p "$text" --maps all --observe sinks,stripes --label paragraph -o "$db" -q
say "Recording random tokens that repeat, for the induction heads ..."
"$hs" record "$model" --dataset repeat:k=64,n=4 --observe stripes --label repeat -o "$db" -q

say "Attention sinks: heads that look at the first token (paragraph, mean over rows)"
"$hs" heads --db "$db" --run 1 --metric sink_alpha0 --top 5
say "Induction heads: heads that look at what followed the same token before (repeats)"
"$hs" heads --db "$db" --run 2 --metric induction --top 5
say "Previous-token heads (paragraph)"
"$hs" heads --db "$db" --run 1 --metric previous --top 5

induction=$(strongest 2 induction)
"$hs" heatmap --db "$db" --run 1 --head "$induction" -o "$out/attention.png" -q
"$hs" heatmap --db "$db" --run 2 --grid induction -o "$out/heads.png" -q

cat <<END

Pictures and data:
  $out/attention.png
      what $induction, the strongest induction head, looks at in the paragraph: the short
      stripe is the repeated sentence, the bright column the attention sink
  $out/heads.png
      the induction score of every head
  $db
      everything that was recorded, a SQLite file

Try next:
  $hs attend --db $db --run 1 --head $induction --from 43
  $hs query --db $db --run 1 sink_rate --max-rows 5
  $hs record $model -p "your own text" --maps all
  $hs help
END
