//! What the machine can do at all.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

const BUFFER_BYTES: usize = 64 << 20;
const DISK_BYTES: usize = 512 << 20;
const MEASURE: Duration = Duration::from_secs(1);

/// Bytes a second copied by one core between buffers larger than its caches.
pub(crate) fn memory_copy() -> Result<f64> {
    let from = vec![1_u8; BUFFER_BYTES];
    let mut to = vec![2_u8; BUFFER_BYTES];
    let (start, mut copied) = (Instant::now(), 0);
    while start.elapsed() < MEASURE {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
        copied += BUFFER_BYTES;
    }
    Ok(copied as f64 / start.elapsed().as_secs_f64())
}

/// Bytes a second written to a new file and made durable.
pub(crate) fn disk_write() -> Result<f64> {
    let folder = crate::job::scratch()?;
    let mut file = File::create(folder.path().join("written"))?;
    let piece = vec![3_u8; 1 << 20];
    let start = Instant::now();
    for _ in 0..DISK_BYTES / piece.len() {
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(DISK_BYTES as f64 / start.elapsed().as_secs_f64())
}
