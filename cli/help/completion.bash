# bash completion for headscope. Load it with
#     source <(headscope completion bash)
# The program says what may follow; nothing of what it prints is ever evaluated.

_headscope() {
    local program=$1 rest=${COMP_LINE:0:COMP_POINT} piece blank line word i
    local -a words=() answer=() found=() endings=()
    [[ $program == \~/* ]] && program=$HOME/${program:2}
    COMPREPLY=()

    # bash breaks words at = and : too: pieces that touch each other in the line are one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blank=${rest%%[![:space:]]*}
        rest=${rest#"$blank"}
        piece=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && piece=$rest # up to the cursor
        rest=${rest#"$piece"}
        if [[ ${#words[@]} -eq 0 || -n $blank ]]; then
            words+=("$piece")
        else
            words[-1]+=$piece
        fi
    done
    for i in "${!words[@]}"; do # without quotes, as the program will see them
        words[i]=${words[i]//[\\\"\']/}
    done
    piece=${piece//[\\\"\']/}
    [[ $piece == [=:]* ]] && piece=${piece##*[=:]}
    local current=${words[-1]}
    local before=${current%"$piece"} # stays as it is; bash replaces the piece alone

    mapfile -t answer < <("$program" completion words -- "${words[@]:1}" 2>/dev/null)
    for line in "${answer[@]:1}"; do
        word=${line%%$'\t'*}
        [[ $word == "$before"* ]] && COMPREPLY+=("${word#"$before"}")
    done
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]] && compopt -o nospace 2>/dev/null

    case ${answer[0]-} in
    folders | files*)
        compopt -o filenames 2>/dev/null
        read -r -a endings <<<"${answer[0]#files}"
        mapfile -t found < <(compgen -f -- "$piece")
        for line in "${found[@]}"; do
            word=$line
            [[ $word == \~/* ]] && word=$HOME/${word:2}
            if [[ -d $word || ${answer[0]} == files ]]; then
                COMPREPLY+=("$line")
            else
                for i in "${endings[@]}"; do
                    [[ $line == *"$i" && $i == .* ]] && COMPREPLY+=("$line")
                done
            fi
        done
        ;;
    esac
}
complete -F _headscope headscope
