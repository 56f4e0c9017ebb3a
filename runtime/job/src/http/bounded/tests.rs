use std::future::poll_fn;
use std::pin::pin;

use futures::poll;
use tokio::net::UnixStream;

use super::*;

/// A connection and its client's end, which says nothing.
async fn admitted(connections: &Connections) -> (Connection<UnixStream>, UnixStream) {
    let (own, client) = UnixStream::pair().unwrap();
    (connections.admit(own).await, client)
}

/// What the server finds when it reads on.
async fn read(connection: &mut Connection<UnixStream>) -> io::Result<usize> {
    let mut bytes = [0; 16];
    let mut buffer = ReadBuf::new(&mut bytes);
    poll_fn(|context| Pin::new(&mut *connection).poll_read(context, &mut buffer)).await?;
    Ok(buffer.filled().len())
}

/// Serves a silent client until it has to make room.
async fn serve(mut connection: Connection<UnixStream>) -> io::ErrorKind {
    read(&mut connection).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_longest_idle_client() {
    let connections = Connections::of(2);
    let (mut first, client) = admitted(&connections).await;
    let (second, _silent) = admitted(&connections).await;
    client.try_write(b"GET").unwrap();
    assert_eq!(read(&mut first).await.unwrap(), 3, "it is used last");

    let (third, ended) = tokio::join!(admitted(&connections), serve(second));
    assert_eq!(ended, io::ErrorKind::ConnectionAborted);
    let (_fourth, ended) = tokio::join!(admitted(&connections), serve(first));
    assert_eq!(ended, io::ErrorKind::ConnectionAborted);
    assert!(third.0.seat.is_idle());
    assert_eq!(connections.lock().len(), 2);
}

#[tokio::test]
async fn a_client_that_the_job_is_at_work_for_is_not_idle() {
    let connections = Connections::of(2);
    let (mut asking, _waits) = admitted(&connections).await;
    let work = asking.seat.work();
    let (silent, _silent) = admitted(&connections).await;
    let (second, ended) = tokio::join!(admitted(&connections), serve(silent));
    assert_eq!(ended, io::ErrorKind::ConnectionAborted);

    let more = second.0.seat.work();
    let mut newcomer = pin!(admitted(&connections));
    assert!(poll!(newcomer.as_mut()).is_pending(), "all are at work");
    assert!(poll!(pin!(read(&mut asking))).is_pending());
    drop(work);
    let (_third, ended) = tokio::join!(newcomer, serve(asking));
    assert_eq!(ended, io::ErrorKind::ConnectionAborted);
    drop(more);
}

#[tokio::test]
async fn a_client_that_leaves_makes_room() {
    let connections = Connections::of(1);
    let (first, _) = admitted(&connections).await;
    drop(first);
    let (second, _client) = admitted(&connections).await;
    assert!(second.seat.is_idle());
    assert_eq!(connections.lock().len(), 1);
}
