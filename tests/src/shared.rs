//! Where the recorded data of the project lies, which is not part of the repository.

use std::path::PathBuf;

/// The folder `shared`: `$TOKENTIDE_SHARED`, or beside the workspace. `None`, with a printed reason, if there is none: tests that
/// need it then skip.
pub fn shared() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared"));
    let found = std::env::var_os("TOKENTIDE_SHARED").map(PathBuf::from).into_iter().chain([beside]).find(|path| path.is_dir());
    if found.is_none() {
        println!("skipped: no recorded data ($TOKENTIDE_SHARED is not set and there is no ../shared)");
    }
    found
}
