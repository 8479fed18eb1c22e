//! The program.

use std::ffi::c_void;
use std::process::ExitCode;

/// The allocator: mimalloc, which is linked under the names that allocators have in C, so that the
/// libraries in C use it as Rust does. Named here, so that it is linked at all.
///
/// Not as a `#[global_allocator]`: those are told an alignment with every request, and mimalloc then
/// allocates too much, and slowly, wherever a size is over 1 KiB or its page is at its end.
#[used]
static ALLOCATOR: unsafe extern "C" fn(usize) -> *mut c_void = libmimalloc_sys::mi_malloc;

fn main() -> ExitCode {
    transom::cli::main()
}
