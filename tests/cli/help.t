# Help: topics, names of several kinds, width, what --help and --version do anywhere, colours.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf

overview() {
    exits 0 help && for c in $("$HEADSCOPE" completion words -- '' | sed 1d | cut -f 1 | grep -v '^-'); do
        prints "^  $c +[a-z]" || return 1
    done
}
t "the overview has every command" overview
overview_topics() {
    tr '\n' ' ' <"$out" >"$tmp/all"
    for c in heads hooks metrics sinks formats database figures queries; do
        grep -q "TOPIC, one of .*[ ,]$c[,.]" "$tmp/all" || return 1
    done
}
overview_both() { exits 0 --help && cp "$out" "$tmp/h" && exits 0 -h && cmp -s "$out" "$tmp/h" && exits 0 help && cmp -s "$out" "$tmp/h" && overview_topics; }
t "--help, -h and help say the same; the topics are named" overview_both
anywhere() { exits 0 heads --help && cp "$out" "$tmp/h" && exits 0 heads -h && cmp -s "$out" "$tmp/h" && exits 0 help command heads && cmp -s "$out" "$tmp/h" && exits 0 heads 3 --top 5 -qh && cmp -s "$out" "$tmp/h"; }
t "--help and -h after a command, with what else stands there" anywhere
wrong_first() { exits 2 heads --nothing --help; }
t "wrong words are told before help" wrong_first
version() { exits 0 --version && prints '^headscope [0-9]+\.[0-9]+\.[0-9]+ \(.+\)$' && [ "$(wc -l <"$out")" = 1 ] && cp "$out" "$tmp/v" && exits 0 -V && cmp -s "$out" "$tmp/v"; }
t "--version and -V are one line" version
version_more() { exits 0 --version --json && json 'd["version"] and d["compiler"]' && exits 0 version && prints '^compiler '; }
t "version tells all" version_more

topic_hooks() { exits 0 help hooks && prints 'blocks\.L\.attn\.hook_pattern \[n_head, T, T\]' && prints '^  logits '; }
t "hooks, with shapes" topic_hooks
all_hooks() { exits 0 list hooks --csv && cut -d , -f 1 "$out" | sed 1d | tr -d '"\r' >"$tmp/names" && [ "$(wc -l <"$tmp/names")" -gt 20 ] && exits 0 help hooks && while read -r n; do grep -qF -- "$n" "$out" || return 1; done <"$tmp/names"; }
t "every hook that list knows" all_hooks
all_metrics() { exits 0 list metrics --csv && cut -d , -f 1 "$out" | sed 1d | tr -d '"\r' >"$tmp/names" && exits 0 help metrics && while read -r n; do prints "^  $n( |\$)" || return 1; done <"$tmp/names"; }
t "every metric" all_metrics
all_queries() { exits 0 help queries && for q in db/queries/*.sql; do prints "^  $(basename "$q" .sql)( |\$)" || return 1; done; }
t "every query" all_queries
sinks() { exits 0 help sinks && prints '^sinks \(topic\): ' && prints '^sinks \(observer\): ' && prints 'arXiv$|arXiv [0-9]{4}\.[0-9]{5}' && [ "$(grep -n '^sinks (' "$out" | head -n 1 | grep -c topic)" = 1 ]; }
t "sinks: the topic, then the observer" sinks
sinks_links() { for w in sink_alpha0 hidden_sinks massive value_drain sink_rate; do prints "^  $w( |\$)" || return 1; done; }
sinks_all() { exits 0 help topic sinks && ! prints '\(observer\)' && sinks_links; }
t "what shows sinks" sinks_all
heads() { exits 0 help heads && prints '^headscope heads: ' && prints '^heads \(topic\): ' && prints 'headscope help query heads'; }
t "heads: the command, the topic, and where the query is" heads
heads_query() { exits 0 help query heads && prints '^heads \(query\): ' && prints 'FROM newest'; }
t "one kind alone" heads_query
metric() { exits 0 help sink_alpha0 && prints '^sink_alpha0 \(metric\): ' && prints 'by the observer rows'; }
t "a metric" metric
edit() { exits 0 help ablate && prints '^ablate \(intervention\): ' && prints '^  L5N7 ' && prints '^  mode  +zero.mean' && prints '^  pos ' && ! prints '^  heads '; }
t "an intervention" edit
edits() { exits 0 list interventions --csv && cut -d , -f 1 "$out" | sed 1d | tr -d '"\r' >"$tmp/names" && [ -s "$tmp/names" ] && exits 0 help interventions && while read -r n; do prints "^  $n( |\$)" || return 1; done <"$tmp/names"; }
t "every intervention" edits
listed_edits() { exits 0 list interventions --json && json 'all(i["example"].startswith(i["name"] + ":") and i["reference"] is not None for i in d["interventions"])'; }
t "an example and a reference of each" listed_edits
hook() { exits 0 help rot_k && prints 'n_kv_head' && prints 'blocks.L.attn.hook_rot_k'; }
t "a hook point" hook
table() { exits 0 help table run && prints '^  label +a name that the user gave. TEXT$' && exits 0 help v_head_mean && prints 'avg\(value\)'; }
t "tables of the database" table
kind() { exits 2 help querry heads && says 'KIND NAME' && exits 5 help query sink_rat && says "no help on query 'sink_rat': did you mean 'sink_rate'"; }
t "what is no kind, and no query" kind
of_kind() { exits 5 help metric sinks && says "no help on metric 'sinks'" && exits 5 help topic induction; }
t "only names of that kind" of_kind
near() { exits 5 help metrcs && says "did you mean 'metrics'" && exits 5 help entropy_nat && says "did you mean 'entropy_nats'" && exits 5 help qqqqqq && says 'headscope help lists'; }
t "suggestions" near

# On a terminal the width is the terminal's; the plain page is 80 columns wide.
at_width() {
    python3 - "$1" "$HEADSCOPE" help topic hooks >"$out" 2>"$err" <<'END'
import fcntl, os, pty, struct, sys, termios
width, command = int(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    os.execv(command[0], command)
data = b""
while True:
    try:
        more = os.read(fd, 65536)
    except OSError:
        break
    if not more:
        break
    data += more
os.waitpid(pid, 0)
sys.stdout.write(data.decode().replace("\r\n", "\n"))
END
    [ -s "$out" ] && awk '{ if (length($0) > n) n = length($0) } END { print n }' "$out" >"$tmp/widest"
}
if has_pty; then
    narrow() { at_width 60 && [ "$(cat "$tmp/widest")" -le 66 ] && [ "$(grep -cE '.{61}' "$out")" -le 3 ] && tr -s ' \n' ' ' <"$out" >"$tmp/narrow"; }
    t "a narrow terminal" narrow
    wide() { at_width 200 && [ "$(cat "$tmp/widest")" -le 100 ] && [ "$(cat "$tmp/widest")" -gt 80 ]; }
    t "a wide one is not filled" wide
    piped() { exits 0 help topic hooks && ! grep -qE '.{81}' "$out" && tr -s ' \n' ' ' <"$out" | cmp -s - "$tmp/narrow"; }
    t "80 columns in a pipe, and the same words" piped
else
    skip "the width of a terminal" "no terminal can be made here"
fi

esc=$(printf '\033')
colored() { grep -q "$esc" "$out"; }
no_color() { NO_COLOR=1 CLICOLOR_FORCE=1 hs list archs && ! colored; }
t "NO_COLOR" no_color
empty_no_color() { NO_COLOR='' CLICOLOR_FORCE=1 hs list archs && colored; }
t "an empty NO_COLOR is none" empty_no_color
force() { CLICOLOR_FORCE=0 hs list archs && ! colored && CLICOLOR_FORCE=1 hs list archs && colored; }
t "CLICOLOR_FORCE" force
option() { NO_COLOR=1 hs list archs --color always && colored && CLICOLOR_FORCE=1 hs list archs --color never && ! colored; }
t "--color says more than either" option
finish
