//! Checks the contrast of every pair of text and background colours, in both schemes, by the formula of WCAG 2.2.
//! Deliberately absent: sizes. Nothing counts as large text.

use std::collections::BTreeMap;

use super::assets;

/// Backgrounds of text.
const GROUNDS: &[&str] = &["bg", "surface", "raised"];
/// Colours of text.
const INKS: &[&str] = &[
    "text",
    "muted",
    "accent",
    "todo",
    "wip",
    "testing",
    "review",
    "approved",
    "completed",
    "blocked",
    "rejected",
    "good",
    "bad",
];
/// Other pairs of text.
const PAIRS: &[(&str, &str)] = &[("on-accent", "accent"), ("text", "add"), ("text", "del")];
/// Elements without text: edges of fields and buttons, the focus ring, bars.
const SEEN: &[&str] = &["edge", "focus", "wip", "completed", "blocked"];

type Tokens = BTreeMap<String, String>;

/// Light and dark: dark is light with some colours redefined.
fn schemes() -> [(&'static str, Tokens); 2] {
    let css = assets::style();
    let (light, dark) = css.split_once("@media (prefers-color-scheme: dark)").expect("a dark scheme");
    let dark = dark.split_once("\n}\n").expect("an end").0;
    let light = tokens(light);
    let mut both = light.clone();
    both.extend(tokens(dark));
    [("light", light), ("dark", both)]
}

fn tokens(css: &str) -> Tokens {
    let pairs = css.split(['{', ';']).filter_map(|part| part.trim().strip_prefix("--")?.split_once(": #"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Relative luminance of `rrggbb`.
fn luminance(hex: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits")) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn the_formula_is_the_standards() {
    assert!((contrast("ffffff", "000000") - 21.0).abs() < 1e-9);
    assert!((contrast("777777", "ffffff") - 4.48).abs() < 0.01);
}

#[test]
fn all_text_can_be_read_in_both_schemes() {
    let mut wrong = Vec::new();
    for (scheme, tokens) in schemes() {
        let mut check = |ink: &str, ground: &str, least: f64| {
            let found = contrast(&tokens[ink], &tokens[ground]);
            if found < least {
                wrong.push(format!("{scheme}: {ink} on {ground} has {found:.2}, needs {least}"));
            }
        };
        for ground in GROUNDS {
            INKS.iter().for_each(|ink| check(ink, ground, 4.5));
            SEEN.iter().for_each(|seen| check(seen, ground, 3.0));
        }
        PAIRS.iter().for_each(|(ink, ground)| check(ink, ground, 4.5));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_colour_is_written_outside_the_tokens() {
    let (_, rest) = assets::style().split_once("/* Base. */").expect("the end of the tokens");
    // The two blues of the logo are a picture.
    let rest = rest.replace("#5b7cfa", "").replace("#3451b2", "");
    let colours: Vec<_> =
        rest.match_indices('#').filter(|(at, _)| rest[at + 1..].starts_with(|c: char| c.is_ascii_hexdigit())).collect();
    let places: Vec<_> = colours.iter().map(|(at, _)| &rest[*at..(at + 12).min(rest.len())]).collect();
    assert!(places.iter().all(|place| place.starts_with("#ask") || place.starts_with("#live")), "{places:?}");
}
