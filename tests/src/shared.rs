//! Where the recorded data of the project lies, which is not part of the repository.

use std::path::PathBuf;

use tokentide_calibrate::shipped::shared_folder;

/// The folder `shared`: `$TOKENTIDE_SHARED`, or beside the workspace. `None`, with a printed reason, if there is none: tests that
/// need it then skip.
pub fn shared() -> Option<PathBuf> {
    let found = shared_folder("");
    if found.is_none() {
        println!("skipped: no recorded data ($TOKENTIDE_SHARED is not set and there is no ../shared)");
    }
    found
}
