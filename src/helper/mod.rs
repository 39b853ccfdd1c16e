//! Supervised helper processes: work on bytes that somebody else wrote is done by a child of this process, so that
//! whatever they do ends the child and not the node. A helper is this program, started again with a hidden first argument; it
//! has no secrets in its environment or its arguments, no network where the node is root, no core dumps, and limits of
//! memory and processor time; it is kept warm and used again.
//!
//! | file | what it does |
//! |---|---|
//! | [`frame`] | jobs and answers as bytes with a version and a length |
//! | [`process`] | one child: starts it, asks it, says how it ended |
//! | [`pool`] | warm children, and what an end means: a refusal of the job, or a failure of this machine |
//! | [`cancel`] | ends a job whose asker has gone |
//! | [`serve`] | the child's side |
//!
//! Deliberately absent: what the jobs are about. A kind of helper is the two types of its jobs and answers.

mod cancel;
mod frame;
mod pool;
mod process;
mod program;
mod serve;

pub use self::{
    cancel::{Cancel, CancelOnDrop},
    pool::{Budget, Failure, Helpers},
    program::Program,
    serve::{EXIT_LIMIT, serve, serves},
};
