//! Commands that are not there yet.

use std::process::ExitCode;

pub(super) fn demo() -> ExitCode {
    super::cannot("the demo is not in this version")
}
