//! Supervised helper processes. Bytes from outside are processed in a child of this process, so that hostile input can
//! end only the child and not the node. A helper is this program, started again with a hidden first argument. It has no
//! secrets in its environment or its arguments, no network where the node is root, no core dumps, and limits on memory
//! and processor time. It is kept warm and reused.
//!
//! | file | what it does |
//! |---|---|
//! | `frame` | jobs and answers as bytes with a version and a length |
//! | `process` | one child: starts it, calls it, reports how it ended |
//! | `pool` | warm children, and what an end means: a refusal of the job, or a failure of this machine |
//! | `cancel` | ends a job whose requester is gone |
//! | `serve` | the child's side |
//!
//! Deliberately absent: the content of the jobs. A kind of helper is the two types of its jobs and answers.

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
