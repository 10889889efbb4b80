# Drives the bash completion as bash would: complete.bash LINE loads the script on stdin, completes
# LINE with the cursor at its end, and prints COMPREPLY, a word a line.
source /dev/stdin
line=$1
set -f
COMP_LINE=$line COMP_POINT=${#line}
# bash breaks words at blanks, and sets runs of = and : apart.
mapfile -t COMP_WORDS < <(sed -E 's/([=:]+)/ \1 /g' <<<"$line" | tr -s ' ' '\n' | sed '/^$/d')
[[ $line == *[[:space:]] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
set +f
_headscope "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}"
printf '%s\n' "${COMPREPLY[@]}"
