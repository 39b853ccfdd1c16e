//! The command: the command line, with the node that it embeds.

use std::process::ExitCode;

use devstack::{
    cli::{self, Seams},
    node::embed::Here,
};

fn main() -> ExitCode {
    devstack::allocator::bound();
    cli::main(Seams { node: &Here, by_hand: &Here })
}
