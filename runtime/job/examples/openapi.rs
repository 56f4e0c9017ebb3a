//! Prints the job API's description, for `cargo xtask generate`.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let text = serde_json::to_string_pretty(&tidegate::openapi())?;
    writeln!(io::stdout(), "{text}")
}
