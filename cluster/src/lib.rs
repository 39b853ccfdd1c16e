//! Links between the machines of a devstack cluster. This crate knows no tasks: what travels in a frame is bytes.
//!
//! Guaranteed:
//! * A session is with the node that its certificate names, by TLS 1.3 and the cluster's CA, and as long as it is admitted.
//! * There is at most one session with a node. A newer one replaces the older at once, and a process that was replaced by a
//!   newer run of its node does not come back.
//! * Within a session frames arrive in the order of sending, between `connected` and `disconnected`.
//! * A killed peer is seen at once, a frozen or cut off one after `read_idle` (6 s); then the address is dialed for ever.
//! * What waits for a peer, and what a peer can make wait here, is bounded in frames and bytes. Who exceeds it loses the
//!   session.
//!
//! Not guaranteed, and made good by reconciling at the start of every session:
//! * Delivery: a frame arrives at most once. `Ok` of a send means that it is on its way.
//! * Order across sessions, and between nodes.
//! * The outcome of a call that timed out, or whose session ended: unknown. Ask again with the same request id.
//!
//! How it works, from the wire up:
//!
//! | module | what it does |
//! |---|---|
//! | `frame`, `hello`, `credit`, `redial`, `membership` | pure: bytes and decisions |
//! | `ractor_wire`, `gate` | pure: which of a peer's messages ractor may see at all |
//! | `ca`, `credentials`, `tls`, `join_token`, `token_hash` | the cluster's CA, a node's certificate, and the line that lets a node join |
//! | `handshake`, `listener`, `dialer` | TLS, admission, hellos; ours, because ractor's listener serves one client at a time |
//! | `stream` | owns a session's socket, with a deadline on every step; ractor gets one end of a pipe |
//! | `node`, `gateway` | ractor's node, and the one remotable actor of the process |
//! | `session`, `sessions` | the state of a session; which session a node has |
//! | `link` | the public face |
//!
//! Several links may run in one process and share its gateway, each as a node of its own: that is how one load process
//! stands for a thousand hosts. The gateway lives on the runtime of the link that was started first.

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
