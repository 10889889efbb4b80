# Options, usage errors, help.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
printf '{"tokens": [1, 2, 3]}\n' >"$tmp/p.jsonl"

no_command() {
    hs
    [ $rc = 2 ] && says 'no command given'
}
t "no command is wrong usage" no_command

unknown_command() { exits 2 recrod && says "did you mean 'record'"; }
t "an unknown command suggests the nearest" unknown_command
unknown_far() { exits 2 xyzzy && says 'headscope help'; }
t "an unknown command that resembles none" unknown_far
unknown_option() { exits 2 info "$m" --jsn && says 'did you mean --json'; }
t "an unknown option suggests the nearest" unknown_option
later_option() { exits 2 record "$m" -f "$tmp/p.jsonl" --edit ablate:L0H0 -o "$tmp/x.db" && [ ! -e "$tmp/x.db" ]; }
t "an option of no command is an error and writes nothing" later_option
short_option() { exits 2 runs --do x && ! says 'did you mean' && exits 2 heatmap --cpi 9 && ! says 'did you mean'; }
t "a short one that only resembles another does not" short_option
close_option() { exits 2 record "$m" --brompt x && says 'did you mean --prompt' && exits 2 heatmap --dpy 9 && says 'did you mean --dpi'; }
t "a slip does" close_option
far_option() { exits 2 record "$m" --brombt x && ! says 'did you mean' && exits 2 record "$m" --prombd x && says 'did you mean --prompt'; }
t "two slips only where it begins alike" far_option
unknown_letter() { exits 2 info "$m" -z && says 'no option -z'; }
t "an unknown letter" unknown_letter
t "a missing value" exits 2 info "$m" --tokens
t "a value for a flag" exits 2 info "$m" --json=yes
t "no number" exits 2 info "$m" --tokens many
t "a number too large" exits 2 info "$m" --tokens 99999999999999999999
t "not one of the choices" exits 2 info "$m" --weights none
t "too many words" exits 2 info "$m" another
spans() { for c in eval 'generate -n 2'; do exits 0 $c "$m" -f "$tmp/p.jsonl" --span a=0:1 --span image=5:600 || return 1; done; }
t "a span that nothing uses is no error" spans
for span in '' a a= a=3 a=1: a=:2 =1:2 a=2:2 a=3:2 a=-1:2 a=1:2x a=1:2:3 a=1.5:2 'a= 1:2' a,b=1:2 a=1:99999999999; do
    t "no span: '$span'" exits 2 eval "$m" -f "$tmp/p.jsonl" --span "$span"
done
t "options before the command" exits 2 --json info "$m"
t "two formats" exits 2 tokens "$m" -p x --json --csv

anywhere() { exits 0 info --json "$m" && json 'd["n_layer"] > 0'; }
t "options stand before the words" anywhere
equals() { exits 0 info "$m" --tokens=8 --json && json 'd["memory"]["tokens"] == 8'; }
t "a value after =" equals
letters() { exits 0 generate "$m" -f "$tmp/p.jsonl" -qn2 --json && json 'len(d["prompts"][0]["tokens"]) <= 2'; }
t "letters combine, and a value may follow" letters
last_counts() { exits 0 info "$m" --tokens 8 --tokens 9 --json && json 'd["memory"]["tokens"] == 9'; }
t "a repeated option: the last counts" last_counts
dash_value() { exits 1 attend --db "$tmp/none.db" --head L0H0 --from -1 && says 'none.db'; }
t "a value may begin with a dash" dash_value
ended() { exits 1 info -- --json && ! says 'no option'; }
t "-- ends the options" ended

t "help" exits 0 help
t "--help" exits 0 --help
t "version" exits 0 version
for c in attend dataset diff eval export generate heads heatmap help info list observe query record \
    runs show tokens verify version; do
    helped() { exits 0 "$c" --help && prints '^examples$' && prints '^usage$'; }
    t "help of $c" helped
    helps() { exits 0 help "$c" && prints "^headscope $c: "; }
    t "help $c" helps
done
for c in $("$HEADSCOPE" man | sed -n "s/^headscope-\(.*\)\.7$/\1/p"); do
    t "help $c" exits 0 help "$c"
done
help_unknown() { exits 5 help sinkz && says "did you mean 'sinks'"; }
t "help on nothing suggests" help_unknown
t "help on an observer" exits 0 help sinks
t "help on a data set" exits 0 help repeat
t "help on a query" exits 0 help sink_rate
wide() { exits 0 help record && ! prints '.{101}'; }
t "help fits a page" wide

for w in archs backends calibrations colormaps datasets experiments figures hooks interventions metrics models \
    observers queries; do
    listed() { exits 0 list "$w" --json && json "type(d['$w']) is list"; }
    t "list $w" listed
done
list_hooks() { exits 0 list hooks "$m" --json && json 'any(h["name"] == "blocks.L.attn.hook_pattern" for h in d["hooks"])'; }
t "hooks of a model" list_hooks
no_pos() { exits 0 list hooks "$m" --csv && ! prints hook_pos_embed; }
t "not those that it lacks" no_pos
list_what() { exits 2 list observer && says "did you mean 'observers'"; }
t "list of nothing" list_what
t "list alone" exits 2 list

color() { hs list archs --color always && grep -q "$(printf '\033')" "$out"; }
t "--color always colours a pipe" color
no_color() { hs list archs && ! grep -q "$(printf '\033')" "$out"; }
t "a pipe has no colours" no_color
pipe() { "$HEADSCOPE" list hooks 2>"$err" | head -n 1 >"$out"; [ ! -s "$err" ]; }
t "a closed pipe is no error" pipe
full() { "$HEADSCOPE" list hooks >/dev/full 2>"$err"; [ $? = 1 ] && says 'cannot write'; }
t "a full disk is one" full
full_early() { # more than the buffer holds
    "$HEADSCOPE" dataset repeat:k=200,n=200 --n-vocab 1000 >/dev/full 2>"$err"
    [ $? = 1 ] && says 'cannot write to standard output(: .+)?$' && ! says Success
}
t "also when it fills long before the end" full_early
finish
