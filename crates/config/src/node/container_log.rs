//! `log_driver` and `log_options` of `[agent_host]`: which log driver of the engine gets the output of agents, and its
//! options.
//! Deliberately absent: labels that say where a line is from (the docker runtime adds them), and whether a receiver
//! works.

use std::collections::BTreeMap;

use super::super::{
    section::{At, Reader, Table, code},
    suggest::nearest,
    tree::Value,
};

/// Where the output of containers goes, apart from the log of each attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLog {
    /// The engine's driver.
    pub driver: LogDriver,
    /// Options of the driver, with the engine's own names. They override the defaults of the docker runtime.
    pub options: BTreeMap<String, String>,
}

/// A log driver of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDriver {
    /// Nothing is written to the container's output.
    None,
    /// A bounded file of the engine, with labels on each line.
    JsonFile,
    /// The engine's own bounded format.
    Local,
    /// The journal of systemd.
    Journald,
    /// A syslog daemon, here or elsewhere.
    Syslog,
    /// Graylog or Logstash.
    Gelf,
    /// Fluentd or Fluent Bit.
    Fluentd,
}

impl LogDriver {
    /// All drivers, with their names in the file.
    const WORDS: [(&'static str, Self); 7] = [
        ("none", Self::None),
        ("json-file", Self::JsonFile),
        ("local", Self::Local),
        ("journald", Self::Journald),
        ("syslog", Self::Syslog),
        ("gelf", Self::Gelf),
        ("fluentd", Self::Fluentd),
    ];

    /// Its name for the engine and in the file.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, driver)| *driver == self).map_or("none", |(word, _)| word)
    }

    /// The driver's options. Labels are not among them: devstack always sets them itself.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::JsonFile => &["max-size", "max-file", "compress", "tag", "mode", "max-buffer-size"],
            Self::Local => &["max-size", "max-file", "compress", "mode", "max-buffer-size"],
            Self::Journald => &["tag", "mode", "max-buffer-size"],
            Self::Syslog => &["syslog-address", "syslog-facility", "syslog-format", "tag", "mode", "max-buffer-size"],
            Self::Gelf => {
                &["gelf-address", "gelf-compression-type", "gelf-compression-level", "tag", "mode", "max-buffer-size"]
            }
            Self::Fluentd => &[
                "fluentd-address",
                "fluentd-async",
                "fluentd-buffer-limit",
                "fluentd-max-retries",
                "fluentd-request-ack",
                "fluentd-retry-wait",
                "fluentd-sub-second-precision",
                "tag",
                "mode",
                "max-buffer-size",
            ],
        }
    }
}

impl Default for ContainerLog {
    fn default() -> Self {
        Self { driver: LogDriver::JsonFile, options: BTreeMap::new() }
    }
}

/// The most log files of one container.
const FILES_MAX: u32 = 100;
/// The longest value of an option, in bytes: an address or a path.
const VALUE_MAX: usize = 1024;

impl ContainerLog {
    /// Reads the table.
    pub(super) fn read<'i>(&mut self, reader: &mut Reader<'i>, table: &mut Table<'i>) {
        let driver = table.word(reader, "log_driver", &LogDriver::WORDS);
        let at = driver.as_ref().map_or(table.at, |driver| driver.at);
        self.driver = driver.map_or(self.driver, |driver| driver.value);
        let what = format!("`log_options`{}", table.of());
        if let Some(field) = table.take(reader, "log_options")
            && let Some(options) = reader.table(field.value, what.clone())
        {
            for field in options.into_fields() {
                let (at, key) = (field.at, field.key.to_string());
                let value = match field.value.open(reader.text) {
                    Value::Text(text) => text.into_owned(),
                    _ => {
                        let hint = format!("write {key} = \"…\"");
                        reader.add(at, code::WRONG_TYPE, format!("`{key}` in {what} must be a string"), Some(hint));
                        continue;
                    }
                };
                self.option(reader, &what, At { at, value: (key, value) });
            }
        }
        if self.driver == LogDriver::Gelf && !self.options.contains_key("gelf-address") {
            let hint = "for example log_options = { gelf-address = \"udp://127.0.0.1:12201\" }".to_owned();
            reader.add(at, code::MISSING, format!("the driver gelf needs `gelf-address` in {what}"), Some(hint));
        }
    }

    fn option(&mut self, reader: &mut Reader<'_>, what: &str, option: At<(String, String)>) {
        let At { at, value: (key, value) } = option;
        let (driver, known) = (self.driver.word(), self.driver.keys());
        if !known.contains(&key.as_str()) {
            let hint = match nearest(&key, known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None if known.is_empty() => "leave the option out, or set `log_driver`".to_owned(),
                None => format!("its options are {}", known.join(", ")),
            };
            reader.add(at, code::UNKNOWN_KEY, format!("`{key}` in {what} is not an option of {driver}"), Some(hint));
        } else if let Some(wanted) = wrong(&key, &value) {
            let message = format!("`{key}` in {what} is `{value}`; it must be {wanted}");
            reader.add(at, code::BAD_VALUE, message, None);
        } else if self.options.insert(key.clone(), value).is_some() {
            reader.add(at, code::BAD_VALUE, format!("`{key}` in {what} is given twice"), None);
        }
    }
}

/// Checks a value; returns what it must be if it is wrong. Unlimited values are refused, such as `max-size = \"-1\"`.
fn wrong(key: &str, value: &str) -> Option<String> {
    let (holds, wanted) = match key {
        "max-size" | "max-buffer-size" => (is_size(value), "a size in the engine's format: \"10m\"".to_owned()),
        "max-file" => {
            let is = value.parse::<u32>().is_ok_and(|count| (1..=FILES_MAX).contains(&count));
            (is, format!("\"1\" to \"{FILES_MAX}\""))
        }
        "compress" | "fluentd-async" | "fluentd-request-ack" | "fluentd-sub-second-precision" => {
            (["true", "false"].contains(&value), "\"true\" or \"false\"".to_owned())
        }
        "gelf-address" | "syslog-address" => {
            let schemes: &[&str] =
                if key == "gelf-address" { &["udp://"] } else { &["udp://", "unixgram://", "unix://"] };
            (schemes.iter().any(|scheme| value.starts_with(scheme)) && is_plain(value), without_stream(schemes))
        }
        "mode" => (["blocking", "non-blocking"].contains(&value), "\"non-blocking\" or \"blocking\"".to_owned()),
        _ => (is_plain(value), format!("1 to {VALUE_MAX} printable characters")),
    };
    (!holds).then_some(wanted)
}

fn is_plain(value: &str) -> bool {
    (1..=VALUE_MAX).contains(&value.len()) && !value.chars().any(char::is_control)
}

/// The rule for addresses, without TCP. If a receiver accepts a TCP connection but reads nothing, the engine waits for
/// it at the end of a container, and answers nothing about the container meanwhile. No option prevents that.
fn without_stream(schemes: &[&str]) -> String {
    format!(
        "an address that starts with {} (over TCP, a hanging receiver would block the end of containers: send to a \
        relay on this machine, which may use TCP)",
        schemes.join(", ")
    )
}

/// A number above zero with at most one unit: `10m`.
fn is_size(text: &str) -> bool {
    let digits = text.strip_suffix(['k', 'm', 'g', 'K', 'M', 'G']).unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u32>().is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::super::NodeConfig;

    fn refused(lines: &str) -> String {
        NodeConfig::parse("n", &format!("[agent_host]\n{lines}\n")).unwrap_err().to_string()
    }

    #[test]
    fn options_are_those_of_the_driver_and_keep_its_bounds() {
        let typo = refused("log_driver = \"gelf\"\nlog_options = { gelf-adress = \"udp://x:1\" }");
        assert!(
            typo.contains("n:3: `gelf-adress` in `log_options` of [agent_host] is not an option of gelf"),
            "{typo}"
        );
        assert!(typo.contains("needs `gelf-address`"), "{typo}");
        let stream = "log_driver = \"syslog\"\nlog_options = { syslog-address = \"tcp+tls://x:6514\" }";
        assert!(refused(stream).contains("starts with udp://, unixgram://, unix:// (over TCP,"));
        assert!(refused("log_driver = \"splunk\"").contains("must be one of none, json-file"));
        assert!(refused("log_driver = \"none\"\nlog_options = { tag = \"x\" }").contains("not an option of none"));
        assert!(refused("log_options = { labels = \"x\" }").contains("not an option of json-file"));
        for open in ["-1", "0", "m", "10mm", "", "+1"] {
            assert!(refused(&format!("log_options = {{ max-size = \"{open}\" }}")).contains("the engine's format"));
        }
        assert!(refused("log_options = { max-file = \"0\" }").contains("\"1\" to \"100\""));
        assert!(refused("log_options = { max-file = 3 }").contains("must be a string"));
        assert!(refused("log_options = { mode = \"fast\" }").contains("non-blocking"));
        assert!(refused("log_options = { tag = \"a\\nb\" }").contains("printable"));
    }
}
