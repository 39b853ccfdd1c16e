//! The store against its contract, on real disks and with real kills.

// mod blobs;
mod conformance;
// mod corruption;
// mod faulty;
// mod golden;
// mod journal;
// mod kill;
mod sample;
// mod transfer;
