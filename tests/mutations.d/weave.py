"""Puts many mutants into one text of Rust, each behind a switch (`tests/mutations` says what for).

A function with the mutants 7 and 9 becomes

    fn f() -> T { if <7 is on> { its body, as mutant 7 has it } else if <9 is on> { … } else { its body } }

so every mutant has its own change and nothing of another. What is on is said by a file, because most processes of the
tests start with an empty environment. A process reads it when it first comes to a switch.
"""
import re

# What is no code: braces in it do not count. A block comment inside a block comment is not understood.
NO_CODE = re.compile(r"""
    //[^\n]* | /\*.*?\*/
    | \b[bc]?r(\#*)".*?"\1 | \b[bc]?"(?:\\.|[^"\\])*" | "(?:\\.|[^"\\])*"
    | '(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'])'          # a character; a lifetime has no second quote
""", re.X | re.S)


def functions(text):
    """The bodies of the functions that can be switched: positions of `{` and `}` (constant functions read no file)."""
    code = NO_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    bodies = []
    for head in re.finditer(r"(\bconst\s+(?:unsafe\s+)?)?\bfn\s+\w+", code):
        opening = body_of(code, head.end())
        if opening and not head[1]:
            bodies.append((opening, closing(code, opening)))
    return bodies


def body_of(code, at):
    """The `{` of a body, after parameters and types. None: a declaration without one."""
    depth = 0
    for at in range(at, len(code)):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(code[at], 0)
        if depth == 0 and code[at] in "{;":
            return at if code[at] == "{" else None
    return None


def closing(code, at):
    depth = 0
    for at in range(at, len(code)):
        depth += {"{": 1, "}": -1}.get(code[at], 0)
        if depth == 0:
            return at
    raise ValueError("a brace is not closed")


def sites(text, edits):
    """Edits (mutant, old, new) by the body that is theirs, and the mutants whose edit is in no such body."""
    bodies, by_body, outside = functions(text), {}, set()
    for mutant, old, new in edits:
        start, end = text.find(old), text.find(old) + len(old)
        around = [(a, b) for a, b in bodies if a < start and end <= b]
        if around:
            by_body.setdefault(max(around), []).append((mutant, start, end, new))
        else:
            outside.add(mutant)
    # A mutated function in a mutated function: both belong to the outer one.
    for a, b in sorted(by_body):
        for inner in [site for site in by_body if (a, b) in by_body and a < site[0] and site[1] < b]:
            by_body[a, b] += by_body.pop(inner)
    return by_body, outside


def weave(text, edits, switch):
    """The text with all mutants behind switches, and where they are: (first line, last line, mutants) of each body and
    of each function, so that an error of the compiler finds its mutant."""
    out, done, spans = "", 0, []

    def line():
        return out.count("\n") + 1

    for (opening, end), here in sorted(sites(text, edits)[0].items()):
        out += text[done:opening] + "{"
        first = line()
        for mutant in dict.fromkeys(mutant for mutant, *_ in here):
            body, at = "", opening + 1
            for _, start, stop, new in sorted(edit for edit in here if edit[0] == mutant):
                body, at = body + text[at:start] + new, stop
            begins = line()
            out += f" if {condition(switch, mutant)} {{{body}{text[at:end]}}} else"
            spans.append((begins, line(), {mutant}))
        out += f" {{{text[opening + 1:end]}}} }}"
        spans.append((first, line(), {mutant for mutant, *_ in here}))
        done = end + 1
    return out + text[done:], spans


def condition(switch, mutant):
    return ("{ static ON: ::std::sync::OnceLock<bool> = ::std::sync::OnceLock::new(); *ON.get_or_init(|| "
            f"::std::fs::read(\"{switch}\").is_ok_and(|on| on == b\"{mutant}\")) }}")
