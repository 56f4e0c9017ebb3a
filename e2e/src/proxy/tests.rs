use std::io::{BufReader, Read, Write};
use std::sync::mpsc::{Receiver, channel};

use super::*;

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// A server that answers 200 and a body, and passes on what it was asked.
fn upstream() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Ok(Some(request)) = http::read_request(&mut stream) {
                    // The test may be over.
                    let _ = sender.send(format!("{} {}", request.method(), request.target()));
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer";
                    if stream.get_mut().write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
    );
    let mut answer = String::new();
    // A connection that is cut may be reset.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn without_faults_the_answer_is_the_servers() {
    let (address, seen) = upstream();
    let proxy = FaultProxy::start(address, FaultPlan::seeded(1)).unwrap();
    assert!(ask(proxy.address(), "/a").ends_with("\r\n\r\nanswer"));
    assert_eq!(seen.recv_timeout(TEN_SECONDS).unwrap(), "PUT /a");
    assert_eq!(proxy.counts().injected(), 0);
}

#[test]
fn several_requests_share_a_connection() {
    let (address, _seen) = upstream();
    let proxy = FaultProxy::start(address, FaultPlan::seeded(1)).unwrap();
    let mut stream = BufReader::new(TcpStream::connect(proxy.address()).unwrap());
    for fault in [
        None,
        Some(Fault::ApplyThenFail(500)),
        Some(Fault::Reject(503)),
        None,
    ] {
        if let Some(fault) = fault {
            proxy.hit_next(fault, "GET", "/b");
        }
        stream
            .get_mut()
            .write_all(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let answer = http::read_response(&mut stream, "GET").unwrap();
        let expected = match fault {
            Some(Fault::ApplyThenFail(status) | Fault::Reject(status)) => status,
            _ => 200,
        };
        assert_eq!(answer.status(), expected);
    }
}

#[test]
fn an_answer_that_is_cut_is_shorter_than_the_servers_and_the_request_took_effect() {
    let (address, seen) = upstream();
    let proxy = FaultProxy::start(address, FaultPlan::seeded(5)).unwrap();
    let whole = ask(proxy.address(), "/whole");
    for round in 0..20 {
        proxy.hit_next(Fault::ApplyThenCut, "PUT", "/cut");
        let part = ask(proxy.address(), &format!("/cut{round}"));
        assert!(part.len() < whole.len());
    }
    assert_eq!(seen.iter().take(21).count(), 21);
    assert_eq!(proxy.counts().applied_then_cut, 20);
}

#[test]
fn a_proxy_that_is_down_answers_nobody_until_it_is_up_again() {
    let (address, _seen) = upstream();
    let proxy = FaultProxy::start(address, FaultPlan::seeded(1)).unwrap();
    proxy.set_down(true);
    assert_eq!(ask(proxy.address(), "/a"), "");
    proxy.set_down(false);
    assert!(ask(proxy.address(), "/a").ends_with("answer"));
}

#[test]
fn the_same_seed_hits_the_same_requests() {
    let run = || {
        let (address, _seen) = upstream();
        let proxy = FaultProxy::start(address, FaultPlan::hostile(11, 60)).unwrap();
        (0..60).for_each(|index| drop(ask(proxy.address(), &format!("/{index}"))));
        proxy.counts()
    };
    let (first, second) = (run(), run());
    assert!(first.injected() > 5);
    assert_eq!(
        FaultCounts {
            late_arrived: 0,
            ..first
        },
        FaultCounts {
            late_arrived: 0,
            ..second
        }
    );
}

#[test]
fn a_dropped_proxy_cuts_its_connections() {
    let (address, _seen) = upstream();
    let proxy = FaultProxy::start(address, FaultPlan::seeded(1)).unwrap();
    let mut stream = BufReader::new(TcpStream::connect(proxy.address()).unwrap());
    stream
        .get_mut()
        .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(
        http::read_response(&mut stream, "GET").unwrap().status(),
        200
    );
    drop(proxy);
    let mut rest = Vec::new();
    // A reset would do as well.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
}
