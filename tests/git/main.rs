//! The door to git against real git: merges equal to `git merge --no-ff`, attacks on the quarantine, the lock and the
//! swap, the person's repository.

#[path = "../harness/repo_generator.rs"]
mod repo_generator;

mod deliver;
mod fixture;
mod inbox;
mod merges;
mod mirror;
mod publish;
mod quarantine;
mod replay;
mod resolve;
mod source;
mod trees;
mod worker;
