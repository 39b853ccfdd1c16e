//! Draws pictures as SVG text: the graph of a plan, and attempts on a time axis. The functions are pure: the data and
//! the current time are arguments, and the same input gives the same text.
//! Deliberately absent: colours (the page's style sheet gives them by class), HTTP, and where the data comes from.

pub mod dag;
pub mod gantt;
pub mod layers;
pub mod text;

#[cfg(test)]
mod tests;
