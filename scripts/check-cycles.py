#!/usr/bin/env python3
"""Fails when the direct children of a crate's src/ import each other in a circle.

A child is a file or a folder of src/ (lib.rs and main.rs are the root and don't count). An import is any path
that starts with `crate::` or climbs there with `super::`; what the root re-exports counts as the child that it
comes from. Tests are left out: files named tests.rs, folders named tests, and modules behind #[cfg(test)].

    scripts/check-cycles.py crates/hub crates/server …
"""

import re
import sys
from pathlib import Path

COMMENT = re.compile(r"//[^\n]*")
STRING = re.compile(r'"(?:\\.|[^"\\])*"')
INLINE_TESTS = re.compile(r"#\[cfg\(test\)\]\s*mod\s+\w+\s*\{")
PATH = re.compile(r"\b(crate|(?:super::)*super)::(\{|\w+)")


def without_tests(text):
    """The source without comments, strings and inline test modules."""
    text = STRING.sub('""', COMMENT.sub("", text))
    while found := INLINE_TESTS.search(text):
        depth, end = 1, found.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[: found.start()] + text[end:]
    return text


def group(text, start):
    """The entries of a `{…}` group of a use declaration whose brace opens before `start`."""
    depth, entry, entries = 1, "", []
    for character in text[start:]:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0 or (depth == 1 and character == ","):
            entries.append(entry.strip())
            entry = ""
            if depth == 0:
                return entries
        else:
            entry += character
    return entries


def first(path):
    return re.match(r"\w*", path).group()


def reexports(root):
    """Names that the root offers, each with the child that it comes from."""
    names = {}
    for found in re.finditer(r"\buse\s+(?:crate::|self::)?(\w+)::(\{|[^;]+)", root):
        child, rest = found.groups()
        entries = group(root, found.end()) if rest == "{" else [rest]
        for entry in entries:
            alias = re.search(r"\bas\s+(\w+)", entry)
            names[alias.group(1) if alias else re.split(r"::", entry)[-1].strip()] = child
    return names


def imports(file, src, text):
    """First segments of the paths in `file` that start at the root of the crate."""
    relative = file.relative_to(src)
    # How many `super`s reach the root from a module of this file.
    depth = len(relative.parts) - (relative.name == "mod.rs")
    for found in PATH.finditer(text):
        start, rest = found.groups()
        # A path in an inline module climbs one more; none of ours has such outside of tests.
        if start != "crate" and start.count("super") != depth:
            continue
        yield from map(first, group(text, found.end())) if rest == "{" else [rest]


def graph(crate):
    """Child -> {child it imports: the first file that does}."""
    src = Path(crate) / "src"
    root = without_tests("\n".join((src / name).read_text() for name in ("lib.rs", "main.rs") if (src / name).exists()))
    children = {path.stem for path in src.iterdir()} - {"lib", "main"}
    offered = reexports(root)
    edges = {child: {} for child in children}
    for file in sorted(src.rglob("*.rs")):
        relative = file.relative_to(src)
        if relative.parts[0] in ("lib.rs", "main.rs") or file.name == "tests.rs" or "tests" in relative.parts:
            continue
        child = Path(relative.parts[0]).stem
        for name in imports(file, src, without_tests(file.read_text())):
            target = name if name in children else offered.get(name)
            if target in children and target != child:
                edges[child].setdefault(target, file)
    return edges


def circles(edges):
    """The groups of children that reach each other (Tarjan's strongly connected components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            members = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def main(crates):
    failed = False
    for crate in crates:
        edges = graph(crate)
        for members in circles(edges):
            failed = True
            print(f"{crate}: these modules import each other in a circle: {', '.join(members)}")
            for child in members:
                for target, file in sorted(edges[child].items()):
                    if target in members:
                        print(f"  {child} -> {target}  ({file})")
    return failed


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: scripts/check-cycles.py CRATE …")
    sys.exit(main(sys.argv[1:]))
