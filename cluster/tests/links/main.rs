//! Links over TLS on loopback: honest nodes that talk, die, freeze and come back, and hostile ones.
//! Deliberately absent: sleeps; every test waits for what it is told.

#[cfg(test)]
mod node;
#[cfg(test)]
mod pki;
#[cfg(test)]
mod talk;
