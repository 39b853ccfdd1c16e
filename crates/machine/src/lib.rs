//! This process and the machine that it runs on: room on its disks, its allocator, its secrets in memory, and the
//! service manager that started it.
//!
//! | module | what it does |
//! |---|---|
//! | [`disk`] | how full the disks are, compared with the reserve |
//! | [`allocator`] | how much memory is given back to the machine |
//! | [`memory`] | keeps this process's memory from others and out of core dumps |
//! | [`notify`] | tells systemd that the node is up and alive |
//!
//! Deliberately absent: agents and their limits (`devstack-runtime`).

pub mod allocator;
pub mod disk;
pub mod memory;
pub mod notify;
