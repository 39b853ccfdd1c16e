//! The HTTP API (`/v1`): handlers, answers and errors over one object-safe trait, [`Backend`].
//! On the unix socket the file's mode decides who may ask.
//! Deliberately absent: deciding anything (the engine does), vendor types in answers, and a TCP listener (later).

pub mod backend;
pub mod dto;
pub mod error;
mod extract;
mod metrics;
mod routes;
pub mod server;
pub mod view;

pub use backend::{Backend, ByteStream, FactStream, RequestId, TaskQuery, WaitQuery};
pub use error::ApiError;
pub use routes::router;
