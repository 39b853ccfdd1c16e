//! A node: the actors, the links between nodes, and the code that assembles and starts them.
//!
//! | module | what it is |
//! |---|---|
//! | [`taskmaster`] | the actor that holds the plans and decides |
//! | [`agent_host`] | the actor that runs attempts on a machine |
//! | [`devops`] | the actor that imports, merges and delivers |
//! | [`uplink`], [`downlink`] | the two ends of the link between a host and its Taskmaster |
//! | [`wire`] | the messages on that link, frozen |
//! | [`webhook`], [`traces`] | what a node sends to outside receivers on its own initiative |
//! | [`actor`] | supervision on ractor |
//! | [`node`] | starts and stops everything, and answers the API |
//!
//! Deliberately absent: the API's routes and pages (`devstack-gateway`) and the commands (`devstack-cli`).

pub mod actor;
pub mod agent_host;
pub mod devops;
pub mod downlink;
pub mod node;
pub mod taskmaster;
pub mod traces;
pub mod uplink;
pub mod webhook;
pub mod wire;
