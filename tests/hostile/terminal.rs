//! Text of agents on a person's terminal: it is shown, and drives nothing. `script` gives the command a terminal.

use crate::bench::{Plan, World, task, toml_text};

/// Forty kinds of what a terminal obeys, as `printf` takes them.
const SEQUENCES: [&str; 40] = [
    r"\033]52;c;aGFjaw==\007",        // clipboard
    r"\033]52;c;aGFjaw==\033\\",      // the same, ended otherwise
    r"\033]8;;http://evil\033\\x",    // link
    r"\033]0;owned\007",              // title
    r"\033]1;icon\007",               // icon name
    r"\033]2;owned\007",              // window title
    r"\033]4;1;rgb:00/00/00\007",     // palette
    r"\033]7;file://h/tmp\007",       // directory
    r"\033]9;say\007",                // notification
    r"\033]10;?\007",                 // asks for a colour
    r"\033]11;#000000\007",           // background
    r"\033]50;font\007",              // font
    r"\033]133;A\007",                // prompt mark
    r"\033]1337;File=:AA==\007",      // a file
    r"\033P$qm\033\\",                // DECRQSS
    r"\033P+q544e\033\\",             // XTGETTCAP
    r"\033Pq#0;2;0;0;0\033\\",        // sixel
    r"\033_Gf=100;AAAA\033\\",        // picture
    r"\033^private\033\\",            // privacy message
    r"\033Xstring\033\\",             // start of string
    r"\033[2J",                       // clear
    r"\033[3J",                       // and the history
    r"\033[1;1H",                     // go home
    r"\033[5A",                       // up
    r"\033[2K",                       // clear the line
    r"\033[?1049h",                   // the other screen
    r"\033[?25l",                     // no cursor
    r"\033[?2004h",                   // bracketed paste
    r"\033[201~",                     // its end
    r"\033[6n",                       // asks for the position
    r"\033[c",                        // asks what it is
    r"\033[>c",                       // asks for the version
    r"\033[21t",                      // asks for the title
    r"\033[8mhidden\033[28m",         // invisible text
    r"\033[!p",                       // reset
    r"\033c",                         // full reset
    r"\033(0",                        // another alphabet
    r"\302\2332J",                    // CSI in one character
    r"\302\23552;c;aGFjaw==\302\234", // OSC in one character
    r"\016\b\b\b\177\007",            // shift out, backspaces, bell
];

fn on_terminal(world: &World, args: &[&str]) -> String {
    let command = format!("{} {}", env!("CARGO_BIN_EXE_devstack"), args.join(" "));
    let ended = world.spawn_program("script", &world.dir(), &["-qec", &command, "/dev/null"]).wait().expect(0);
    ended.stdout
}

/// Nothing but colours, tabs and ends of lines.
#[track_caller]
fn assert_quiet(text: &str) {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let (parameters, left) = after.split_once('m').unwrap_or((after, ""));
        let is_color = parameters.chars().all(|c| c.is_ascii_digit() || ";:".contains(c));
        assert!(is_color && !parameters.split(';').any(|one| one == "8"), "ESC [ {:.40} in {text:?}", parameters);
        rest = left;
    }
    plain.push_str(rest);
    let bad = plain.chars().find(|c| c.is_control() && !"\n\t\r".contains(*c));
    assert_eq!(bad, None, "{text:?}");
}

#[test]
fn forty_escape_sequences_in_a_log_are_shown_and_colours_stay() {
    let world = World::with_repository();
    let lines: String = SEQUENCES
        .iter()
        .enumerate()
        .map(|(n, it)| format!("printf '%s <' {n}; printf '{it}'; printf '>\\n'\n"))
        .collect();
    let script = format!("printf '\\033[31;1mred\\033[0m\\n'\n{lines}printf 'cut \\033[32mgreen'; echo x > x");
    world.plan(&Plan::new([task("A", &script)]));
    world.run().expect(0);
    let shown = on_terminal(&world, &["task", "logs", "A"]);
    assert_quiet(&shown);
    assert!(shown.contains("\x1b[31;1mred\x1b[0m") && shown.contains("␛]52;c;aGFjaw==␇"), "{shown:?}");
    assert!(shown.trim_end().ends_with("\x1b[0m"), "colours end with the output: {shown:?}");
    for number in 0..SEQUENCES.len() {
        assert!(shown.contains(&format!("{number} <")), "{number}: nothing is lost");
    }
    // What is no terminal, and who asks for it, gets the bytes.
    let piped = world.devstack(&["task", "logs", "A"]).expect(0).stdout;
    assert!(piped.contains("\x1b]52;c;aGFjaw==\x07"), "{piped:?}");
    let raw = on_terminal(&world, &["task", "logs", "A", "--raw"]);
    assert_eq!(raw.replace("\r\n", "\n"), piped);
}

#[test]
fn patches_reasons_names_and_events_are_quiet_too() {
    let world = World::with_repository();
    // A file's name cannot hold one: such results are refused.
    let script = r"printf 'x\033[2Jy\n\033]0;owned\007' > text";
    let fails = "printf '\\033[2J\\033]0;owned\\007last words\\n'; exit 3";
    let hint = toml_text("do \u{1b}]0;owned\u{7}it");
    world.plan(&Plan::new([task("A", script), task("F", fails).with(&format!("prompt = {hint}"))]));
    world.run().expect(7);
    for args in [
        &["task", "diff", "A"][..],
        &["task", "show", "F"],
        &["task", "prompt", "F"],
        &["task", "explain", "A"],
        &["task", "explain", "F"],
        &["task", "list"],
        &["status"],
        &["event", "tail", "--after", "0"],
        &["event", "tail", "--after", "0", "-o", "jsonl"],
        &["plan", "show", "shop"],
    ] {
        assert_quiet(&on_terminal(&world, args));
    }
    assert!(on_terminal(&world, &["task", "prompt", "F"]).contains("do ␛]0;owned␇it"));
}
