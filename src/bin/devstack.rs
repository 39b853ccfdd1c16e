//! The command: the command line, with the node that it embeds.

use std::process::ExitCode;

use devstack::{
    cli::{self, Seams},
    node::embed::Here,
};

fn main() -> ExitCode {
    devstack::memory::keep_private();
    devstack::allocator::bound();
    if let Some(code) = devstack::repository::worker::serve_if_asked() {
        return code;
    }
    cli::main(Seams { node: &Here, by_hand: &Here })
}
