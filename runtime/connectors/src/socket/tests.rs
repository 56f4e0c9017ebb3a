//! Connections to servers in the same process.

use std::io::Write;
use std::net::TcpListener;

use tidegate_testkit::PortLease;

use super::*;
use crate::testing::context;

async fn read_all(source: &SocketLines) -> Result<Vec<String>> {
    let found = source.discover(&[])?;
    let mut reader = source.reader(
        found.into_iter().map(SplitState::unread).collect(),
        context("socket"),
    )?;
    let mut output = SourceOutput::default();
    while reader.read(&mut output).await? == ReadStatus::More {}
    assert!(reader.snapshot().iter().all(|state| state.is_ended));
    Ok(output.into_records())
}

fn serve(listener: TcpListener, parts: &'static [&'static [u8]]) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for part in parts {
            listener.accept().unwrap().0.write_all(part).unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_s_lines_are_read_to_the_end_of_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = SocketLines::new(listener.local_addr().unwrap().to_string());
    let server = serve(listener, &[b"a,1\r\nb,2\n\nlast"]);
    assert_eq!(read_all(&source).await.unwrap(), ["a,1", "b,2", "", "last"]);
    server.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_long_lines_waits_in_the_connection_and_not_in_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = SocketLines::new(listener.local_addr().unwrap().to_string());
    let mut line = vec![b'x'; 1_000_000];
    line.push(b'\n');
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        for _ in 0..100 {
            stream.write_all(&line).unwrap();
        }
    });
    let found = source.discover(&[]).unwrap().remove(0);
    let state = SplitState {
        split: found,
        position: None,
        is_ended: false,
    };
    let mut reader = source.reader(vec![state], context("socket")).unwrap();
    let mut line_count = 0;
    loop {
        let mut output = SourceOutput::default();
        let status = reader.read(&mut output).await.unwrap();
        line_count += output.into_records().len();
        assert!(reader.lines.len() * 1_000_000 <= READ_AHEAD_BYTES);
        if status == ReadStatus::Ended {
            break;
        }
    }
    assert_eq!(line_count, 100);
    server.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_is_made_again_when_asked_for() {
    // Nobody else listens there once the server is gone.
    let lease = PortLease::take().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", lease.port())).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let source = SocketLines::new(&address).with_reconnects(1);
    let server = serve(listener, &[b"a\n", b"b\n"]);
    let found = source.discover(&[]).unwrap();
    let splits = found.into_iter().map(SplitState::unread).collect();
    let mut reader = source.reader(splits, context("socket")).unwrap();
    let mut output = SourceOutput::default();
    // The server goes away after its second connection, so the third one is refused.
    let error = loop {
        if let Err(error) = reader.read(&mut output).await {
            break error.to_string();
        }
    };
    assert_eq!(output.into_records(), ["a", "b"]);
    assert!(error.contains(&address), "{error}");
    server.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_says_where_to_and_what_to_do() {
    let lease = PortLease::take().unwrap();
    let address = format!("127.0.0.1:{}", lease.port());
    let error = read_all(&SocketLines::new(&address))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&address) && error.contains("nc -lk"),
        "{error}"
    );
    let error = read_all(&SocketLines::new("nowhere"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("host:port"), "{error}");
}

fn state(id: &str, is_ended: bool) -> SplitState {
    let split = Split {
        id: id.to_owned(),
        weight: 1,
        spec: Value::Null,
    };
    SplitState {
        split,
        position: None,
        is_ended,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_takes_over_the_split_that_a_checkpoint_knows() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = SocketLines::new(listener.local_addr().unwrap().to_string());
    assert_eq!(source.discover(&[state("old:1", false)]).unwrap(), []);
    let server = serve(listener, &[b"a\n"]);
    let known = vec![state("old:1", false)];
    let mut reader = source.reader(known, context("socket")).unwrap();
    let mut output = SourceOutput::default();
    while reader.read(&mut output).await.unwrap() == ReadStatus::More {}
    assert_eq!(output.into_records(), ["a"]);
    assert_eq!(reader.snapshot(), [state("old:1", true)]);
    // What has ended is not taken over.
    let found = source.discover(&[state("old:1", true)]).unwrap();
    assert_eq!(found.len(), 1);
    server.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_splits_that_have_not_ended_one_connects_and_the_other_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = SocketLines::new(listener.local_addr().unwrap().to_string());
    let known = [state("b:1", false), state("a:1", false)];
    assert_eq!(source.discover(&known).unwrap(), []);
    let [second, first] = known;
    let mut ended = source.reader(vec![second], context("socket")).unwrap();
    let mut output = SourceOutput::default();
    // One that connected as well would wait for a line.
    assert_eq!(ended.read(&mut output).await.unwrap(), ReadStatus::Ended);
    assert_eq!(ended.snapshot(), [state("b:1", true)]);
    let mut reader = source.reader(vec![first], context("socket")).unwrap();
    let server = serve(listener, &[b"a\n"]);
    assert_eq!(reader.read(&mut output).await.unwrap(), ReadStatus::More);
    assert_eq!(output.into_records(), ["a"]);
    server.join().unwrap();
}

#[tokio::test]
async fn a_silent_server_is_asked_whether_it_is_still_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = Connection {
        source: SocketLines::new(listener.local_addr().unwrap().to_string()),
        sender: mpsc::channel(1).0,
        room: Arc::new(Semaphore::new(1)),
        tries: 0,
    };
    let stream = connection.connect().await.unwrap();
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_AFTER);
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_TRIES);
}
