//! Programs of others that tests ask: `scripts/test` installs them and says where.

use std::path::PathBuf;

/// A tool that `scripts/test` installs. Without it a test skips with a visible line; in CI it fails.
pub fn tool(variable: &str) -> Option<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) => Some(PathBuf::from(path)),
        None if std::env::var("CI").is_ok_and(|v| v == "true") => {
            panic!("{variable} is not set: run scripts/test")
        }
        None => {
            println!("SKIPPED: {variable} is not set; scripts/test sets it");
            None
        }
    }
}
