//! The program.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let file = std::env::args().skip_while(|a| a != "-c").nth(1);
    transom::run::run(transom::run::Source::File(file.map(Into::into)), |_| {})
}
