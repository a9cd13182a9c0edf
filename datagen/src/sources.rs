//! Rows of data from files and folders, and the problems that they hold.
//!
//! Each format is a module beside this one and yields rows as JSON objects, one after the other; what a row means is
//! decided in `problems.rs`, the same for all of them. No file makes more be held than one batch of its rows.

mod cell;
mod columns;
mod compressed;
mod dataset;
mod delimited;
mod front_matter;
mod hash;
mod ipc;
mod lines;
mod pattern;
mod problems;
mod row;
mod table;

#[cfg(test)]
mod tests;

pub use hash::hash;
pub use problems::{Columns, Reading, read};
pub use row::{Place, Row};
pub use table::{Selection, Table};

pub(crate) use ipc::Indexed;
pub(crate) use lines::Lines;
pub(crate) use problems::{gold_of, labels};
