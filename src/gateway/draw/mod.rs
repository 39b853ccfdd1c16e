//! Pictures for people, as SVG text: a plan's graph and the attempts on a time axis. Pure functions: what is shown and what time
//! it is come in as arguments, and the same input gives the same text.
//! Deliberately absent: colours (the page's style sheet gives them by class), HTTP, and where the data comes from.

pub mod dag;
pub mod gantt;
pub mod layers;
pub mod text;

#[cfg(test)]
mod tests;
