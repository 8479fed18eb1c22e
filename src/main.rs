//! The program.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("demo") {
        return transom::demo::demo();
    }
    let file = std::env::args().skip_while(|a| a != "-c").nth(1);
    transom::run::run(transom::run::Source::File(file.map(Into::into)), |_| {})
}
