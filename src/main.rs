//! The program.

use std::process::ExitCode;

/// Version 2 of mimalloc, as its features say: version 3 allocates too much, and slowly, whenever it is
/// told an alignment, which here is always, and a size is over 1 KiB or a page at its end.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    transom::cli::main()
}
