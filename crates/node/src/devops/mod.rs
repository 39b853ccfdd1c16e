//! The DevOps actor, one per project: merge queue worker, imports, delivery.

mod actor;
mod jobs;
pub mod message;
#[cfg(test)]
mod tests;

pub use actor::{Devops, DevopsArguments};
pub use jobs::Project;
