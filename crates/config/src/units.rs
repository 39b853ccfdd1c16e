//! Durations and sizes as people write them: `30m`, `1h30m`, `500ms`; `4GiB`, `512MiB`; and the free space to keep on a
//! disk: `5%`.
//! Deliberately absent: clocks and byte counting; this module only converts numbers.

/// Parses a duration such as `30m`, `10s`, `1h30m` or `500ms` into milliseconds.
///
/// # Errors
/// The mistake, as the middle of a sentence.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("`{}` is not a duration; write for example \"30m\", \"10s\", \"1h30m\" or \"500ms\"", cut(text));
    let mut total = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match &rest[digits..digits + letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    Ok(total)
}

/// Formats a duration for [`parse_duration`], in the largest exact units.
pub fn format_duration(mut ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if ms >= size {
            text.push_str(&format!("{}{unit}", ms / size));
            ms %= size;
        }
    }
    text
}

/// Parses a size such as `4GiB`, `512MiB`, `64KiB` or `100B` into bytes. Powers of 1000 (`MB`) are refused, so that
/// nobody has to guess the meaning.
///
/// # Errors
/// The mistake, as the middle of a sentence.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{}` is not a size; write for example \"4GiB\", \"512MiB\" or \"64KiB\"", cut(text));
    let text_ = text.trim();
    let digits = text_.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text_[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match text_[digits..].trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Formats a size for [`parse_size`], in the largest exact unit.
pub fn format_size(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

/// The bit that marks a reserve as a share; the other bits are the percentage. No disk has so many bytes.
pub const SHARE: u64 = 1 << 63;

/// Parses the free space to keep on a disk: a share such as `5%`, marked with [`SHARE`], or a size in bytes.
///
/// # Errors
/// The mistake, as the middle of a sentence.
pub fn parse_reserve(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{}` is neither a share nor a size; write for example \"5%\" or \"2GiB\"", cut(text));
    match text.trim().strip_suffix('%') {
        Some(share) => share.parse::<u64>().ok().filter(|percent| *percent <= 90).map(|percent| SHARE | percent),
        None => parse_size(text).ok().filter(|size| size & SHARE == 0),
    }
    .ok_or_else(wrong)
}

/// Formats a reserve for [`parse_reserve`].
pub fn format_reserve(reserve: u64) -> String {
    match reserve & SHARE {
        0 => format_size(reserve),
        _ => format!("{}%", reserve & !SHARE),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, ms) in
            [("30m", 1_800_000), ("10s", 10_000), ("1h30m", 5_400_000), ("500ms", 500), ("1d", 86_400_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for text in ["", "30", "m", "-5s", "1.5h", "5 parsecs", "99999999999999999999s", "9999999999999999d", "1h 30m"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [("4GiB", 4 << 30), ("512MiB", 512 << 20), ("1 KiB", 1024), ("7B", 7)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "4", "4GB", "GiB", "4.5GiB", "99999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reserves_as_people_write_them() {
        for (text, reserve) in [("5%", SHARE | 5), ("0%", SHARE), ("2GiB", 2 << 30), ("0B", 0)] {
            assert_eq!(parse_reserve(text), Ok(reserve), "{text}");
            assert_eq!(format_reserve(reserve), text);
        }
        for text in ["", "5", "91%", "-1%", "5.5%", "%", "5 percent", "9999999TiB"] {
            assert!(parse_reserve(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0u64..10_000_000_000, bytes: u64) {
            prop_assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
            let _ = parse_reserve(&text);
        }
    }
}
