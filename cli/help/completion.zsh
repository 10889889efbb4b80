#compdef headscope
# zsh completion for headscope. Load it with
#     source <(headscope completion zsh)
# or as _headscope in a folder of $fpath. The program says what may follow; nothing of what it
# prints is ever evaluated.

_headscope() {
    local program=${(Q)words[1]/#\~\//$HOME/} line word about kind
    local -a given answer match open plain_about open_about endings

    given=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    answer=("${(@f)$("$program" completion words -- "${given[@]}" 2>/dev/null)}")
    kind=$answer[1]
    for line in "${answer[@]:1}"; do
        word=${line%%$'\t'*}
        about=${line#*$'\t'}
        if [[ $word == *[=:] ]]; then
            open+=("$word")
            open_about+=("$word  $about")
        else
            match+=("$word")
            plain_about+=("$word  $about")
        fi
    done
    (( $#match )) && compadd -l -d plain_about -a match
    (( $#open )) && compadd -S '' -l -d open_about -a open

    [[ $PREFIX == --*=* ]] && compset -P '*='
    case $kind in
    folders) _files -/ ;;
    files) _files ;;
    'files '*)
        endings=(${=kind#files })
        _files -g "*(${(j:|:)endings})"
        ;;
    esac
}

if [[ $funcstack[1] == _headscope ]]; then
    _headscope "$@"
else
    compdef _headscope headscope
fi
