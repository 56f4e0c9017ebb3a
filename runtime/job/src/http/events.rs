//! The stream of events (server-sent events).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::bounded::Work;
use super::{Api, Problem, Seat};
use crate::job_event::JobEvent;

struct Subscription {
    events: Receiver<Arc<JobEvent>>,
    is_over: bool,
    /// Held as long as the stream is read.
    _permit: OwnedSemaphorePermit,
    /// A stream is no idle connection, however seldom something happens.
    _work: Work,
}

/// Every event from now on, until the job is over.
pub(super) async fn events(
    State(api): State<Api>,
    ConnectInfo(seat): ConnectInfo<Seat>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = Arc::clone(&api.event_streams)
        .try_acquire_owned()
        .map_err(|_| {
            let detail = "too many event streams are open; close one first";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "Busy", detail)
        })?;
    let subscription = Subscription {
        events: api.status.subscribe(),
        is_over: false,
        _permit: permit,
        _work: seat.work(),
    };
    Ok(Sse::new(unfold(subscription, next)).keep_alive(KeepAlive::default()))
}

async fn next(mut from: Subscription) -> Option<(Result<Event, Infallible>, Subscription)> {
    if from.is_over {
        return None;
    }
    let event = loop {
        match from.events.recv().await {
            Ok(event) => break event,
            // A reader that is too slow loses events; the next ones tell where the job stands.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    };
    from.is_over = matches!(*event, JobEvent::Ended { .. });
    let data = serde_json::to_string(&*event).expect("an event has string keys and plain values");
    Some((Ok(Event::default().event(event.name()).data(data)), from))
}
