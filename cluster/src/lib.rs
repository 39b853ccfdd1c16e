//! Links between the machines of a devstack cluster. This crate knows no tasks: what travels in a frame is bytes.
//!
//! Guaranteed:
//! * The peer of a session is the node that its certificate names, verified by TLS 1.3 and the cluster's CA. The
//!   session lasts only while that node is admitted.
//! * There is at most one session with a node. A newer session replaces the older one at once. A process that was
//!   replaced by a newer incarnation of its node cannot come back.
//! * Within a session frames arrive in the order of sending, between `connected` and `disconnected`.
//! * A killed peer is detected at once, and a frozen or disconnected peer after `read_idle` (6 s). The address is then
//!   dialed forever.
//! * Everything that waits for a peer, and everything that a peer can make wait here, is bounded in frames and bytes. A
//!   peer that exceeds a bound loses the session.
//!
//! Not guaranteed, and repaired by reconciling at the start of every session:
//! * Delivery: a frame arrives at most once. `Ok` of a send means only that the frame is on its way.
//! * Order across sessions, and between nodes.
//! * The outcome of a call that timed out, or whose session ended, is unknown. Ask again with the same request id.
//!
//! How it works, from the wire up:
//!
//! | module | what it does |
//! |---|---|
//! | `frame`, `hello`, `credit`, `redial`, `membership` | pure: bytes and decisions |
//! | `ractor_wire`, `gate` | pure: decide which of a peer's messages ractor may see |
//! | `ca`, `credentials`, `tls`, `join_token`, `token_hash` | the cluster's CA, certificates, join tokens |
//! | `handshake`, `listener`, `dialer` | TLS, admission, hellos; ours, as ractor's listener serves one client at a time |
//! | `stream` | owns a session's socket, with a deadline on every step; ractor gets one end of a pipe |
//! | `node`, `gateway` | ractor's node, and the one remotable actor of the process |
//! | `session`, `sessions` | the state of a session; which session a node has |
//! | `link` | the public interface |
//!
//! Several links can run in one process and share its gateway. Each link is then its own node: in this way one load
//! process simulates a thousand hosts. The gateway lives on the runtime of the link that started first.

pub mod ca;
pub mod credentials;
pub mod credit;
mod dialer;
pub mod error;
pub mod files;
pub mod fingerprint;
pub mod frame;
mod gate;
mod gateway;
mod handshake;
mod hello;
pub mod hex;
pub mod join_token;
pub mod limits;
pub mod link;
mod listener;
pub mod membership;
pub mod name;
mod node;
pub mod peer;
mod ractor_wire;
pub mod redial;
pub mod session;
mod sessions;
mod stream;
mod sync;
pub mod tls;
mod token_hash;

pub use ca::{CaError, ClusterCa, Issued, Purpose, SigningRequest};
pub use credentials::{Credentials, CredentialsError, NodeKey};
pub use error::{CallError, LinkError, SendError};
pub use fingerprint::Fingerprint;
pub use hello::ABOUT_MAX;
pub use join_token::{JoinToken, TokenId, TokenSecret};
pub use limits::Limits;
pub use link::{Admit, Link, LinkConfig, TlsSource};
pub use membership::{Change, Leases, Membership, Standing};
pub use name::NodeName;
pub use peer::{PeerCertificate, Serial};
pub use session::{Incarnation, Message, Receiver, Reply, Session, SessionId};
