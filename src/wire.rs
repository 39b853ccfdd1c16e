//! What crosses between a Taskmaster and an agent host inside a frame: append-only enums in bincode, frozen by
//! `tests/wire`. Orders go down, reports come up; both are also what the actors of one process say to each other.
//!
//! A variant is only ever added at the end; a type within that must change gets a new variant beside the old one. So a
//! node understands the version before its own, and refuses, by name, what is newer than itself.
//! A host of this version works for a Taskmaster of the version before, which it tells only what that one understands.
//! Deliberately absent: frames and sessions (crate cluster), and bulk: bundles, logs and long texts go over HTTPS.

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

/// Bytes that decoding one body may claim: frames have 1 MiB, and numbers claim their full width however short they
/// are written.
const DECODE_LIMIT: usize = 16 << 20;

const BODY: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODE_LIMIT>,
> = bincode::config::standard().with_limit::<DECODE_LIMIT>();

/// The version of the messages that this node writes. 1: orders whose prompts the host completes, reports of a result
/// only. 2: whole prompts, and reports of what else an attempt left.
pub const VERSION: u16 = 2;

/// From the Taskmaster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// First on every session.
    Welcome(Welcome),
    /// For the AgentHost.
    Order(HostOrder),
    /// Send an attempt's log over HTTPS into this channel.
    SendLog(LogOrder),
    /// Nobody reads this channel any more.
    CloseLog {
        /// Which.
        channel: u64,
    },
    /// This machine is no member any more: end every attempt. Sent as a call, answered with nothing when it was taken; a host
    /// that does not know it refuses the call, and has by then taken what was sent before.
    Removed,
    /// The version of the messages that this Taskmaster understands ([`VERSION`]), before its welcome. One that does not say
    /// it understands version 1.
    Understands(u16),
}

/// What a host must know to work for this Taskmaster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Attempts of a host that stays away this long are replaced, in milliseconds.
    pub max_disconnect_ms: u64,
    /// How often the host must be heard, in milliseconds.
    pub heartbeat_ms: u64,
    /// The largest log that is taken, in bytes.
    pub log_size: u64,
}

/// To an AgentHost, in this process or at the other end of a link. Crosses hosts, in the form of [`versions::HostOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "versions::HostOrder", into = "versions::HostOrder")]
pub enum HostOrder {
    /// Run this attempt; one that is there already is left alone.
    Start(Box<Order>),
    /// End this attempt; it is reported as stopped.
    Stop(AttemptId),
    /// Its report is durable, or nobody wants it: remove what is left of it.
    Forget(AttemptId),
    /// The Taskmaster is new, or doubts: report the full state, and every exit that was not acknowledged, again.
    ReportAgain,
    /// It is fenced: end it if it runs, report what it left, and never start it.
    Salvage(Box<Order>),
}

/// Which log, from where, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOrder {
    /// Names the stream that waits for it.
    pub channel: u64,
    /// Of which attempt.
    pub attempt: AttemptId,
    /// Until the attempt ends, or only what is there?
    pub follow: bool,
}

/// From an agent host, in the form of [`versions::ToTaskmaster`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "versions::ToTaskmaster", into = "versions::ToTaskmaster")]
pub enum ToTaskmaster {
    /// The AgentHost lives.
    Alive,
    /// Its full state.
    Report(HostReport),
    /// An attempt is over; its bundle, if it left one, has been taken by the Taskmaster.
    Exited {
        /// How it went.
        report: Report,
        /// The bundle that was uploaded.
        result: Option<Uploaded>,
    },
    /// A log that was asked for cannot be sent.
    NoLog {
        /// The channel.
        channel: u64,
        /// Why, for people; `None`: there is nothing of this attempt here any more.
        why: Option<String>,
    },
}

impl ToTaskmaster {
    /// Within the limits of a message: what is too much is cut, so that the rest is heard.
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
    /// In bytes.
    pub size: u64,
    /// BLAKE3 of its content.
    pub digest: [u8; 32],
}

/// What an agent host says of itself, in the hello of its session. `None`: it does not say.
///
/// Texts by their places. A later version appends, and what this one does not know it leaves; what an earlier one did not
/// send yet is `None`. So neither needs the other's version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    /// The version of its node.
    pub version: Option<String>,
    /// `docker` or `process`.
    pub runtime: Option<String>,
    /// What keeps attempts from the machine.
    pub sandbox: Option<String>,
}

impl Introduction {
    /// Bytes of each text, so that all of them fit into a hello; what is longer is cut.
    const TEXT_MAX: usize = 150;

    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let texts = [&self.version, &self.runtime, &self.sandbox].map(|text| {
            let text = text.as_deref().unwrap_or_default();
            &text[..text.floor_char_boundary(Self::TEXT_MAX)]
        });
        // Three short texts are far below the limit, which is the only error.
        encode(&texts.as_slice()).unwrap_or_default()
    }

    /// Reads what any version wrote; nothing of what is none.
    pub fn decode(bytes: &[u8]) -> Self {
        let texts: Vec<String> = decode(bytes).unwrap_or_default();
        // Shown to people: one line, without control characters.
        let mut texts = texts.into_iter().map(|text| text.replace(char::is_control, " "));
        let mut next = || texts.next().filter(|text| !text.is_empty());
        Self { version: next(), runtime: next(), sandbox: next() }
    }
}

/// The bytes of a host's message for a Taskmaster that understands this version of messages: one of version 1 is told of the
/// result only.
///
/// # Errors
/// Only for a message over the limit.
pub fn encode_for(version: u16, message: &ToTaskmaster) -> Result<Vec<u8>, Unreadable> {
    if version >= 2 { encode(message) } else { encode(&versions::ToTaskmaster::version_1(message.clone())) }
}

/// A body that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// This version cannot read it: the sender is newer, or hostile.
    #[error("a message cannot be understood: {0}; is the other node of a newer version?")]
    Unknown(String),
    /// A field of it is not what it may be: too long a text, too many entries, no name.
    #[error("a message is refused: {0}")]
    Refused(String),
}

/// How serde begins to say that a number stands for no variant.
const UNKNOWN_VARIANT: &str = "invalid value: integer";

impl From<bincode::error::DecodeError> for Unreadable {
    fn from(error: bincode::error::DecodeError) -> Self {
        match error {
            // The words of a type of ours; of a variant that is not known, serde's.
            bincode::error::DecodeError::OtherString(why) if !why.starts_with(UNKNOWN_VARIANT) => Self::Refused(why),
            bincode::error::DecodeError::OtherString(why) => Self::Unknown(why),
            other => Self::Unknown(other.to_string()),
        }
    }
}

/// The bytes of a message.
///
/// # Errors
/// Only for a message over the limit.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, Unreadable> {
    bincode::serde::encode_to_vec(message, BODY).map_err(|error| Unreadable::Unknown(error.to_string()))
}

/// Reads a message; bytes that are left over are an error.
///
/// # Errors
/// The bytes are no message of this version.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    let (message, read) = bincode::serde::decode_from_slice(body, BODY)?;
    if read != body.len() {
        return Err(Unreadable::Unknown(format!("{} bytes are left over", body.len() - read)));
    }
    Ok(message)
}
