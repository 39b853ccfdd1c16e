//! The messages between a Taskmaster and an agent host inside a frame: append-only enums in bincode, frozen by
//! `tests/wire`. Orders go down, reports come up; the actors of one process use the same messages among themselves.
//!
//! A variant is only ever added at the end. A type inside a variant that must change gets a new variant beside the old
//! one. A node therefore understands the version before its own, and refuses, by name, any newer message. A host of
//! this version can work for a Taskmaster of the previous version, to which it sends only what that version
//! understands. Deliberately absent: frames and sessions (crate cluster), and bulk data: bundles, logs and long texts
//! go over HTTPS.

#[path = "wire/versions.rs"]
mod versions;

use devstack_dag::{
    attempt::{Order, Report},
    bounds::{self, Limit},
    command::HostReport,
    ids::AttemptId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The kind of frames from a Taskmaster.
pub const TO_HOST: u16 = 1;
/// The kind of frames from an agent host.
pub const TO_TASKMASTER: u16 = 2;

/// The number of bytes that decoding one body may claim: frames have 1 MiB, and numbers claim their full width however
/// short they are encoded.
const DECODE_LIMIT: usize = 16 << 20;

const BODY: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODE_LIMIT>,
> = bincode::config::standard().with_limit::<DECODE_LIMIT>();

/// The version of the messages that this node writes. 1: orders whose prompts the host completes, reports only of a
/// result. 2: complete prompts, and reports of everything else that an attempt left.
pub const VERSION: u16 = 2;

/// Messages from the Taskmaster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// The first message on every session.
    Welcome(Welcome),
    /// For the AgentHost.
    Order(HostOrder),
    /// Send an attempt's log over HTTPS into this channel.
    SendLog(LogOrder),
    /// Nobody reads this channel any more.
    CloseLog {
        /// The channel.
        channel: u64,
    },
    /// This machine is no longer a member: end every attempt. Sent as a call, answered with nothing when it was
    /// received; a host that does not know it refuses the call, and has by then received all earlier messages.
    Removed,
    /// The version of the messages that this Taskmaster understands ([`VERSION`]), sent before its welcome. A
    /// Taskmaster that does not send it understands version 1.
    Understands(u16),
}

/// What a host must know to work for this Taskmaster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Attempts of a host that stays away this long are replaced, in milliseconds.
    pub max_disconnect_ms: u64,
    /// The maximum interval between messages from the host, in milliseconds.
    pub heartbeat_ms: u64,
    /// The largest accepted log, in bytes.
    pub log_size: u64,
}

/// Orders to an AgentHost, in this process or at the other end of a link. Crosses hosts, in the form of
/// `versions::HostOrder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "versions::HostOrder", into = "versions::HostOrder")]
pub enum HostOrder {
    /// Run this attempt; an existing attempt is left alone.
    Start(Box<Order>),
    /// End this attempt; it is reported as stopped.
    Stop(AttemptId),
    /// Its report is durable, or not needed: remove what is left of it.
    Forget(AttemptId),
    /// The Taskmaster is new, or uncertain: report the full state, and every unacknowledged exit, again.
    ReportAgain,
    /// It is fenced: end it if it runs, report what it left, and never start it.
    Salvage(Box<Order>),
}

/// A requested log and its destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOrder {
    /// Identifies the stream that waits for it.
    pub channel: u64,
    /// The attempt.
    pub attempt: AttemptId,
    /// Whether to follow until the attempt ends, or to send only the current content.
    pub follow: bool,
}

/// Messages from an agent host, in the form of `versions::ToTaskmaster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "versions::ToTaskmaster", into = "versions::ToTaskmaster")]
pub enum ToTaskmaster {
    /// The AgentHost is alive.
    Alive,
    /// Its full state.
    Report(HostReport),
    /// An attempt ended; the Taskmaster has received its bundle, if there is one.
    Exited {
        /// The report.
        report: Report,
        /// The bundle that was uploaded.
        result: Option<Uploaded>,
    },
    /// A requested log cannot be sent.
    NoLog {
        /// The channel.
        channel: u64,
        /// Why, for users; `None` if nothing of this attempt is left here.
        why: Option<String>,
    },
}

impl ToTaskmaster {
    /// Cuts a message to its limits, so that the rest gets through.
    pub fn fit(self) -> Self {
        match self {
            Self::Report(report) => Self::Report(report.fit()),
            Self::Exited { report, result } => Self::Exited { report: report.fit(), result },
            Self::NoLog { channel, why: Some(mut why) } => {
                bounds::Reason::cut(&mut why);
                Self::NoLog { channel, why: Some(why) }
            }
            fits => fits,
        }
    }
}

/// An uploaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of its content.
    pub digest: [u8; 32],
}

/// An agent host's introduction, in the hello of its session. `None`: unknown.
///
/// Texts by position. A later version appends, and this version ignores unknown entries; entries that an earlier
/// version did not send yet are `None`. Neither side therefore needs the other's version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    /// The version of its node.
    pub version: Option<String>,
    /// `docker` or `process`.
    pub runtime: Option<String>,
    /// How attempts are isolated from the machine.
    pub sandbox: Option<String>,
}

impl Introduction {
    /// Maximum size of each text in bytes, so that all of them fit into a hello; a longer text is cut.
    const TEXT_MAX: usize = 150;

    /// Encodes the introduction.
    pub fn encode(&self) -> Vec<u8> {
        let texts = [&self.version, &self.runtime, &self.sandbox].map(|text| {
            let text = text.as_deref().unwrap_or_default();
            &text[..text.floor_char_boundary(Self::TEXT_MAX)]
        });
        // Three short texts are far below the limit, which is the only error.
        encode(&texts.as_slice()).unwrap_or_default()
    }

    /// Decodes what any version wrote; empty for anything else.
    pub fn decode(bytes: &[u8]) -> Self {
        let texts: Vec<String> = decode(bytes).unwrap_or_default();
        // Displayed to users: one line, without control characters.
        let mut texts = texts.into_iter().map(|text| text.replace(char::is_control, " "));
        let mut next = || texts.next().filter(|text| !text.is_empty());
        Self { version: next(), runtime: next(), sandbox: next() }
    }
}

/// Encodes a host's message for a Taskmaster that understands this version of messages: version 1 gets only the result.
///
/// # Errors
/// Only for a message over the limit.
pub fn encode_for(version: u16, message: &ToTaskmaster) -> Result<Vec<u8>, Unreadable> {
    if version >= 2 { encode(message) } else { encode(&versions::ToTaskmaster::version_1(message.clone())) }
}

/// Why a body is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// This version cannot decode it: the sender is newer, or hostile.
    #[error("cannot decode a message: {0}; the other node may have a newer version")]
    Unknown(String),
    /// A field is invalid: a text is too long, a list has too many entries, or a name is not a name.
    #[error("a message is refused: {0}")]
    Refused(String),
}

/// The beginning of serde's message that a number matches no variant.
const UNKNOWN_VARIANT: &str = "invalid value: integer";

impl From<bincode::error::DecodeError> for Unreadable {
    fn from(error: bincode::error::DecodeError) -> Self {
        match error {
            // The message of one of our types; for an unknown variant, serde's.
            bincode::error::DecodeError::OtherString(why) if !why.starts_with(UNKNOWN_VARIANT) => Self::Refused(why),
            bincode::error::DecodeError::OtherString(why) => Self::Unknown(why),
            other => Self::Unknown(other.to_string()),
        }
    }
}

/// Encodes a message.
///
/// # Errors
/// Only for a message over the limit.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, Unreadable> {
    bincode::serde::encode_to_vec(message, BODY).map_err(|error| Unreadable::Unknown(error.to_string()))
}

/// Decodes a message; extra bytes are an error.
///
/// # Errors
/// The bytes are not a message of this version.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    let (message, read) = bincode::serde::decode_from_slice(body, BODY)?;
    if read != body.len() {
        return Err(Unreadable::Unknown(format!("{} bytes are left over", body.len() - read)));
    }
    Ok(message)
}
