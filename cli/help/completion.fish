# fish completion for headscope. Load it with
#     headscope completion fish | source
# The program says what may follow; nothing of what it prints is ever evaluated.

function __headscope_complete
    set -l given (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $given[1])
    set -l answer ($program completion words -- $given[2..-1] "$current" 2>/dev/null)
    set -q answer[1]; or return
    set -l kind (string split ' ' -- $answer[1])
    set -e answer[1]
    set -q answer[1]; and printf '%s\n' $answer

    contains -- $kind[1] files folders; or return
    set -l before (string match -r -- '^--[^=]*=' "$current")
    set -l typed (string replace -r -- '^--[^=]*=' '' "$current")
    for path in (__fish_complete_path "$typed")
        set -l name (string split -f 1 \t -- $path)
        if string match -q -- '*/' $name; or test "$kind" = files
            printf '%s\n' "$before$name"
        else if set -q kind[2]
            for ending in $kind[2..-1]
                string match -q -- "*$ending" $name; and printf '%s\n' "$before$name"
            end
        end
    end
end

complete -c headscope -f -a '(__headscope_complete)'
