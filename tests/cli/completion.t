# Completion: what the program answers, and the scripts in real shells.
. tests/cli/lib.sh
here=$PWD
m=$DATA/llama_gqa.gguf
bin=$(cd "$(dirname "$HEADSCOPE")" && pwd)
work=$tmp/work
mkdir -p "$work/sub"
for f in a.gguf b.db c.jsonl d.txt 'odd $(touch pwned).gguf' 'two words.db'; do : >"$work/$f"; done

# A database with a label and prompt ids that a shell must not get hold of.
printf '%s\n' '{"id":"good-1","tokens":[1,2,3]}' '{"id":"$(touch pwned)","tokens":[1,2]}' \
    '{"id":"`touch pwned`","tokens":[1,2]}' '{"id":"a b","tokens":[1,2]}' \
    '{"id":"\u001b[31m;touch pwned;#\n-x","tokens":[1,2]}' >"$tmp/p.jsonl"
"$HEADSCOPE" record "$m" -q -f "$tmp/p.jsonl" --maps L0H1,L1H0 --label '$(touch pwned);
`touch pwned`' -o "$work/run.db" >/dev/null || echo "# cannot record"

# ---- the answer ---------------------------------------------------------------------------------

# words KIND CANDIDATES WORD...: the first line is KIND, the words are CANDIDATES (joined by blanks).
words() {
    kind=$1 want=$2
    shift 2
    (cd "$work" && "$HEADSCOPE" completion words -- "$@") >"$out" 2>"$err" || return 1
    have=$(sed 1d "$out" | cut -f 1 | tr '\n' ' ')
    [ "$(head -n 1 "$out")" = "$kind" ] && [ "$have" = "$want${want:+ }" ]
}
# among KIND WORD WORD...: WORD is one of the candidates.
among() {
    kind=$1 one=$2
    shift 2
    (cd "$work" && "$HEADSCOPE" completion words -- "$@") >"$out" 2>"$err" || return 1
    [ "$(head -n 1 "$out")" = "$kind" ] && cut -f 1 "$out" | grep -qxF -- "$one"
}

t "a command's name" words words 'record' rec
t "the first word may be an option" words words '--version' --v
t "nothing for what is no command" words words '' recrod --
t "an option's name" words words '--metric' heads --me
t "the options of all commands too" words words '--quiet' heads --q
t "choices" words words 'f32 f16' record x --store f
t "choices after =" words words '--store=u8' record x --store=u
t "a number has no words" words words '' heads --top ''
t "the value of a letter" words words 'sink_alpha0 sink_row_share sink_max sink_position sink_half sink_last sink_keys' heads -m sink
t "a letter's value may follow flags" words words 'previous' heads -qm prev
t "a value may begin with a dash" words words '' attend --from -
t "after -- there are only words" words words '' heads --db run.db -- --me
t "metrics" among words entropy_nats heads --metric ''
t "observers" words words 'sink_tokens sinks spans spread stripes' record x --observe s
t "not those that always run" words words '' record x --observe row
t "observers after a comma" words words 'sinks,massive' record x --observe sinks,ma
t "an observer's parameters" words words 'massive:thr= massive:ratio=' record x --observe massive:
t "the next parameter" words words 'massive:thr=50,ratio=' record x --observe massive:thr=50,r
t "a parameter's choices" words words 'hidden_sinks:rule=a,alpha=3,rule=abs' record x --observe hidden_sinks:rule=a,alpha=3,rule=ab
t "interventions" words words 'ablate:' record x --do ab
t "an intervention's target" words words 'ablate:all' record x --do ablate:a
t "an intervention's parameters" words words 'temper:L5,t=' record x --do temper:L5,t
t "those that all of them have" words words 'scale:L5H1+L6,by=2,pos= scale:L5H1+L6,by=2,prompts=' record x --do scale:L5H1+L6,by=2,p
t "choices of an intervention" words words 'ablate:L5H1,mode=bos' record x --do ablate:L5H1,mode=b
t "edits of a run" words words '@1' record x --db run.db --do @
t "data sets" among words repeat eval x --dataset ''
t "a data set as a word" among words repeat dataset rep
t "hooks" words words 'resid_pre resid_mid resid_post' record x --acts resid
t "hooks by their full names" words words 'blocks.2.hook_resid_pre blocks.2.hook_resid_mid blocks.2.hook_resid_post' record x --acts blocks.2.hook_r
t "hooks after a comma" words words 'logits,z' record x --acts logits,z
t "colour maps" words words 'viridis' heatmap --cmap v
t "queries" words words 'sink_rate' query sink_r
t "a query's parameters" words words 'rule= alpha= thr= min_rows=' query hidden_sinks --param ''
t "choices of a query's parameter" words words 'rule=alphaN rule=abs' query hidden_sinks --param rule=
t "metrics of a query's parameter" words words 'metric=echo metric=echo_induction' query heads --param metric=ech
t "lists" among words models list m
t "what help explains" among words sinks help ''
t "of a kind" words words 'sink_rate' help query sink_r
t "manual pages" words words 'headscope-db.5' man headscope-db
t "shells" words words 'bash zsh fish words' completion ''
t "models are files" words 'files .gguf .safetensors' '' info ''
t "prompts are files" words 'files .jsonl .txt' '' record x -f ''
t "databases are files" words 'files .db' '' heads --db ''
figure_files() { "$HEADSCOPE" completion words -- heatmap -o '' >"$out" && prints '^files .*\.png'; }
t "figures are files" figure_files
t "folders" words folders '' man -o ''

t "runs" words words '1' heads --db run.db --run ''
t "runs as a word" words words '1' show --db run.db ''
t "a run or an observer" among words 1 observe --db run.db ''
t "after a run, an observer" words words 'massive' observe --db run.db 1 m
t "prompts: by number, and by id where that is safe" words words '0 good-1 1 2 3 4' heads --db run.db --prompt ''
t "prompts of the run that is named" words words 'good-1' attend 1 --db=run.db --prompt g
printf '{"id":"late-1","tokens":[1,2,3]}\n' >"$tmp/late.jsonl"
cp "$work/run.db" "$work/late.db"
"$HEADSCOPE" record "$m" -q -f "$tmp/late.jsonl" -o "$work/late.db" >/dev/null
t "prompts of the latest run" words words 'late-1' attend --db late.db --prompt l
t "of the run that --run names" words words 'good-1' attend --db late.db --run 1 --prompt g
t "of the run that --run= names" words words 'good-1' attend --db late.db --run=1 --prompt g
t "no prompts of a run that is not there" words words '' attend 9 --db=run.db --prompt g
t "heads that have maps" words words 'L0H1 L1H0' attend --db run.db --head L
t "no database, no words" words words '' heads --db none.db --run ''
t "a damaged one neither" words words '' heads --db a.gguf --run ''
t "a folder neither" words words '' heads --db sub --run ''
pipe_db() { mkfifo "$work/pipe"; words words '' heads --db pipe --run ''; }
t "a pipe is not opened" pipe_db
environment() { HEADSCOPE_DB=run.db words words '1' heads --run ''; }
t "the database of the environment" environment
from_home() { HOME=$work words words '1' heads --db '~/run.db' --run ''; }
t "a database at home" from_home
plain_about() { words words '1' heads --db run.db --run '' && ! grep -q "$(printf '\033')" "$out" && [ "$(wc -l <"$out")" = 2 ]; }
t "a label is one line of plain text" plain_about
none() { "$HEADSCOPE" completion words >"$out" && [ "$(sed 1d "$out" | cut -f 1 | head -n 1)" = attend ]; }
t "no word at all" none
t "no shell" exits 2 completion
t "no such shell" exits 2 completion tcsh
t "one shell at a time" exits 2 completion bash zsh

# Every option of every command is offered, and takes what is offered for it.
every_option() {
    for c in $("$HEADSCOPE" completion words -- '' | sed 1d | cut -f 1 | grep -v '^-'); do
        "$HEADSCOPE" completion words -- "$c" -- | sed 1d | cut -f 1 >"$tmp/offered"
        "$HEADSCOPE" help command "$c" | grep -oE '^  (-., |    )--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' >"$tmp/helped"
        cmp -s "$tmp/offered" "$tmp/helped" || { echo "# $c"; return 1; }
    done
}
t "the options of help" every_option
every_choice() {
    n=0
    for c in $("$HEADSCOPE" completion words -- '' | sed 1d | cut -f 1 | grep -v '^-'); do
        for o in $("$HEADSCOPE" completion words -- "$c" -- | sed 1d | cut -f 1); do
            for v in $("$HEADSCOPE" completion words -- "$c" "$o=" | sed 1d | cut -f 1); do
                "$HEADSCOPE" "$c" "$v" --help >/dev/null 2>"$err" || { echo "# $c $v"; return 1; }
                n=$((n + 1))
            done
        done
    done
    [ $n -gt 100 ]
}
t "what is offered is accepted" every_choice

# ---- bash ---------------------------------------------------------------------------------------

# reply LINE WORD...: what bash offers for LINE.
reply() {
    line=$1
    shift
    (cd "$work" && PATH=$bin:$PATH bash "$here/tests/cli/completion.bash" "$line" \
        <<END) >"$out" 2>"$err"
$("$HEADSCOPE" completion bash)
END
    printf '%s\n' "$@" | sort >"$tmp/want"
    sort "$out" | cmp -s - "$tmp/want" && [ ! -s "$err" ] && [ ! -e "$work/pwned" ]
}
if command -v bash >/dev/null; then
    t "bash: a command" reply 'headscope rec' record
    t "bash: an option" reply 'headscope heads --me' --metric
    t "bash: blanks between words" reply 'headscope   heads    --me' --metric
    t "bash: a value" reply 'headscope heads --metric ent' entropy_nats entropy_norm
    t "bash: a value after =" reply 'headscope heads --metric=ent' entropy_nats entropy_norm
    t "bash: right after =" reply 'headscope record x --store=' f32 f16 u8
    t "bash: past a colon" reply 'headscope record x --observe massive:r' ratio=
    t "bash: past = and a colon" reply 'headscope record x --observe=massive:thr=5,r' 5,ratio=
    t "bash: past a comma" reply 'headscope record x --observe sinks,ma' sinks,massive
    t "bash: by its path" reply "$bin/headscope rec" record
    t "bash: models" reply 'headscope info ' a.gguf 'odd $(touch pwned).gguf' sub
    t "bash: files after =" reply 'headscope heads --db=b' b.db
    t "bash: a file with a blank" reply 'headscope heads --db "two' 'two words.db'
    t "bash: any file" reply 'headscope export --db run.db -o d' d.txt
    t "bash: folders" reply 'headscope man -o ' sub
    t "bash: runs" reply 'headscope heads --db run.db --run ' 1
    t "bash: a database in quotes" reply 'headscope heads --db "run.db" --run ' 1
    t "bash: prompts, none that could be run" reply 'headscope heads --db run.db --prompt ' 0 good-1 1 2 3 4
    t "bash: what is typed is not run" reply 'headscope heads --db $(touch pwned) --run ' ''
    t "bash: nor under the cursor" reply 'headscope heads --db $(touch${IFS}pwned)' ''
    t "bash: nor in backquotes" reply 'headscope heads --db `touch pwned`/run.db --prompt ' ''
    middle() {
        reply 'headscope heads --me' --metric && (cd "$work" && PATH=$bin:$PATH bash -c '
            source /dev/stdin
            COMP_LINE="headscope he --json" COMP_POINT=12 COMP_WORDS=(headscope he --json) COMP_CWORD=1
            _headscope headscope he headscope
            printf "%s\n" "${COMPREPLY[@]}"' <<END) >"$out"
$("$HEADSCOPE" completion bash)
END
        [ "$(tr '\n' ' ' <"$out")" = 'heads heatmap help ' ]
    }
    t "bash: in the middle of a line" middle
    # A program that answers with anything: nothing of it is evaluated.
    evil() {
        mkdir -p "$tmp/evil"
        printf '%s\n' '#!/bin/sh' "printf 'files .gguf\$(touch pwned)\\n\$(touch pwned)\\t\`touch pwned\`\\n;touch pwned;\\t\\n'" >"$tmp/evil/headscope"
        chmod +x "$tmp/evil/headscope"
        (cd "$work" && PATH=$tmp/evil:$PATH bash "$here/tests/cli/completion.bash" 'headscope ' <<END) >"$out" 2>"$err"
$("$HEADSCOPE" completion bash)
END
        prints '^\$\(touch pwned\)$' && [ ! -e "$work/pwned" ]
    }
    t "bash: nothing that is printed is run" evil
else
    skip "bash" "there is no bash here"
fi

# ---- zsh and fish -------------------------------------------------------------------------------

# zsh's completion functions, told apart: compadd's words and what _files was asked for.
zsh_reply() {
    line=$1
    shift
    "$HEADSCOPE" completion zsh >"$tmp/_headscope.zsh"
    (cd "$work" && PATH=$bin:$PATH zsh -f -c '
        compadd() { print -rl -- ${(P)@[-1]}; } # compadd ... -a ARRAY
        compset() { :; }
        _files() { print -r -- "_files $*"; }
        compdef() { :; }
        source $1
        line=$2
        words=(${(z)line}); [[ $line == *" " ]] && words+=("")
        CURRENT=$#words; PREFIX=$words[-1]
        _headscope' zsh "$tmp/_headscope.zsh" "$line") >"$out" 2>"$err"
    printf '%s\n' "$@" | sort >"$tmp/want"
    sort "$out" | cmp -s - "$tmp/want" && [ ! -s "$err" ] && [ ! -e "$work/pwned" ]
}
if command -v zsh >/dev/null; then
    "$HEADSCOPE" completion zsh >"$tmp/syntax"
    t "zsh: the script's syntax" zsh -n "$tmp/syntax"
    t "zsh: a command" zsh_reply 'headscope rec' record
    t "zsh: a value" zsh_reply 'headscope heads --metric ent' entropy_nats entropy_norm
    t "zsh: a value after =" zsh_reply 'headscope record x --store=' --store=f32 --store=f16 --store=u8
    t "zsh: words that go on" zsh_reply 'headscope record x --observe massive:' massive:thr= massive:ratio=
    t "zsh: files" zsh_reply 'headscope info ' '_files -g *(.gguf|.safetensors)'
    t "zsh: folders" zsh_reply 'headscope man -o ' '_files -/'
    t "zsh: prompts, none that could be run" zsh_reply 'headscope heads --db run.db --prompt ' 0 good-1 1 2 3 4
else
    skip "zsh" "there is no zsh here"
fi

fish_reply() {
    line=$1
    shift
    "$HEADSCOPE" completion fish >"$tmp/headscope.fish"
    (cd "$work" && HOME=$tmp PATH=$bin:$PATH fish --no-config -c 'source $argv[1]; complete -C "$argv[2]"' \
        "$tmp/headscope.fish" "$line") 2>"$err" | cut -f 1 >"$out"
    printf '%s\n' "$@" | sort >"$tmp/want"
    sort "$out" | cmp -s - "$tmp/want" && [ ! -s "$err" ] && [ ! -e "$work/pwned" ]
}
if command -v fish >/dev/null; then
    "$HEADSCOPE" completion fish >"$tmp/syntax"
    t "fish: the script's syntax" fish -n "$tmp/syntax"
    t "fish: a command" fish_reply 'headscope rec' record
    t "fish: a value" fish_reply 'headscope heads --metric ent' entropy_nats entropy_norm
    t "fish: a value after =" fish_reply 'headscope record x --store=' --store=f32 --store=f16 --store=u8
    t "fish: files" fish_reply 'headscope heads --db b' b.db
    t "fish: files after =" fish_reply 'headscope heads --db=b' --db=b.db
    t "fish: prompts, none that could be run" fish_reply 'headscope heads --db run.db --prompt ' 0 good-1 1 2 3 4
else
    skip "fish" "there is no fish here"
fi
finish
