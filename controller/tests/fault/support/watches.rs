//! Watches that repeat events, lose some, and end.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures::StreamExt;
use serde_json::json;

use super::proxy::Shared;

/// Events that can come again.
const REMEMBERED: usize = 8;

/// What the client gets of one event.
enum Fate {
    Once,
    /// After all the last ones, as if the watch had begun anew before them.
    Again,
    /// Not at all; the watch then has to be begun anew, with a list.
    Never,
}

/// The same answer, badly delivered.
pub(crate) fn disturb(shared: &Arc<Shared>, answer: Response<Body>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let reader = Reader {
        shared: Arc::clone(shared),
        input: body.into_data_stream().boxed(),
        pending: Vec::new(),
        seen: VecDeque::new(),
        has_ended: false,
    };
    let lines = futures::stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Some((Ok::<_, std::io::Error>(chunk), reader))
    });
    Response::from_parts(parts, Body::from_stream(lines))
}

struct Reader {
    shared: Arc<Shared>,
    input: futures::stream::BoxStream<'static, Result<Bytes, axum::Error>>,
    pending: Vec<u8>,
    seen: VecDeque<Vec<u8>>,
    has_ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(self.deliver(line).into());
            }
            self.pending
                .extend_from_slice(&self.input.next().await?.ok()?);
        }
    }

    fn deliver(&mut self, line: Vec<u8>) -> Vec<u8> {
        match self.fate() {
            Fate::Once => {
                self.remember(&line);
                line
            }
            Fate::Again => {
                self.remember(&line);
                let again = self.seen.iter().flatten().copied();
                line.iter().copied().chain(again).collect()
            }
            Fate::Never => {
                self.has_ended = true;
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                    "reason": "Expired", "message": "a fault of the test",
                });
                format!("{}\n", json!({"type": "ERROR", "object": status})).into_bytes()
            }
        }
    }

    fn fate(&self) -> Fate {
        let mut state = self.shared.lock();
        if state.reads == super::Reads::Pass {
            return Fate::Once;
        }
        let fate = match state.random.below(6) {
            0 => Fate::Never,
            1 | 2 => Fate::Again,
            _ => Fate::Once,
        };
        state.fault_count += usize::from(!matches!(fate, Fate::Once));
        fate
    }

    fn remember(&mut self, line: &[u8]) {
        // A bookmark is no event, and an old one would turn time back for good.
        if !line.windows(8).any(|window| window == b"BOOKMARK") {
            self.seen.push_back(line.to_vec());
            if self.seen.len() > REMEMBERED {
                self.seen.pop_front();
            }
        }
    }
}
