//! The data of each page of the dashboard. Each view belongs to one page and changes with it.
//! Deliberately absent: a place in the API (`devstack_api::dto`), and how a page looks (`dashboard`).

mod history;
mod overview;

pub use history::*;
pub use overview::*;
