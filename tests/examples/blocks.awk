# Cuts the code blocks out of a Markdown page: each into DIR/NNN.LANG, and a line of DIR/list for it:
#   NNN <tab> line number <tab> language <tab> what the comment above it says is to be done with it
# The comment stands on the line before the fence: <!-- run: … --> or <!-- not run: … -->.

function directive(line) {
    sub(/^ *<!-- */, "", line)
    sub(/ *-->[ \t]*$/, "", line)
    return line
}

in_block && /^ *```[ \t]*$/ {
    in_block = 0
    if (file != "") close(file)
    next
}

in_block {
    if (file != "") print (substr($0, 1, indent) ~ /[^ ]/ ? $0 : substr($0, indent + 1)) > file
    next
}

/^ *```/ {
    in_block = 1
    file = ""
    indent = index($0, "`") - 1 # in a list
    language = substr($0, indent + 4)
    gsub(/[ \t]/, "", language)
    if (language != "" && language != "text") {
        number = sprintf("%03d", ++count)
        file = dir "/" number "." language
        printf "" > file
        printf "%s\t%d\t%s\t%s\n", number, NR, language, todo > (dir "/list")
    }
    todo = ""
    next
}

/^ *<!-- *(not )?run:/ {
    todo = directive($0)
    next
}

{ todo = "" }
