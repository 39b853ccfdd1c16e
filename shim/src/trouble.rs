//! Tells failures of the machine from the agent's results: a full or broken disk must not be taken for a decision of
//! the agent, neither for work nor for missing work.

use std::{fs::File, io, io::Seek};

use nix::errno::Errno;

/// Errors that only the machine, or a process that fills its disk, can cause.
const MACHINE: [Errno; 7] =
    [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS, Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE];

/// Why something could not be done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The machine failed: the work may still exist.
    Machine(String),
    /// Any other reason, as text.
    Other(String),
}

impl From<git2::Error> for Failure {
    /// libgit2 keeps no error number: its messages end with the system's text for the error.
    fn from(error: git2::Error) -> Self {
        let text = error.message().to_owned();
        let machine = MACHINE.iter().any(|errno| text.contains(&words(*errno)));
        if machine { Self::Machine(text) } else { Self::Other(text) }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let machine = error.raw_os_error().is_some_and(|number| MACHINE.contains(&Errno::from_raw(number)));
        if machine { Self::Machine(error.to_string()) } else { Self::Other(error.to_string()) }
    }
}

/// The C library's text for an error.
fn words(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Empties a file before it is written again.
pub(crate) fn empty(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_the_machines_and_a_closed_file_is_the_agents() {
        for errno in MACHINE {
            assert!(matches!(Failure::from(io::Error::from(errno)), Failure::Machine(_)), "{errno}");
            let library = git2::Error::from_str(&format!("failed to write chunk: {}", words(errno)));
            assert!(matches!(Failure::from(library), Failure::Machine(_)), "{errno}");
        }
        let closed = git2::Error::from_str(&format!("could not open 'key': {}", words(Errno::EACCES)));
        assert!(matches!(Failure::from(closed), Failure::Other(_)));
        assert!(matches!(Failure::from(io::Error::from(Errno::EACCES)), Failure::Other(_)));
    }
}
