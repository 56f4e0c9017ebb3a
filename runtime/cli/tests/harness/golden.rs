//! Output compared with files in `tests/golden`; `UPDATE_GOLDEN=1` rewrites them.

use std::path::PathBuf;

/// Fails unless the text is that of the golden file.
pub(crate) fn check(name: &str, text: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name]
        .iter()
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the golden file can be written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{} differs; UPDATE_GOLDEN=1 rewrites it. Now it would be:\n{text}",
        path.display()
    );
}
