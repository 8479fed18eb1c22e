//! Everything that knows everything: the file, what is built from it, and what runs.
//!
//! A library only so that tests and fuzzing can reach its parts; the program is `main.rs`.

pub mod admin;
pub mod build;
pub mod cli;
pub mod config;
pub mod demo;
pub mod door;
pub mod errands;
pub mod explain;
pub mod import;
pub mod load;
pub mod log;
pub mod materials;
pub mod observe;
pub mod overload;
pub mod reload;
pub mod run;
pub mod save;
pub mod store;
pub mod supervise;
pub mod watch;
pub mod watchdog;
pub mod workers;
