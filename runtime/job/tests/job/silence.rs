//! Clients that connect and say nothing: they hold up nobody.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::thread;

use serde_json::json;

use crate::client::Client;
use crate::support::{LIMIT, TestJob};

/// More connections than the server has open at once.
const SILENT_COUNT: usize = 200;

fn silent_clients(address: &str) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect(address).unwrap();
    (0..SILENT_COUNT).map(connect).collect()
}

#[test]
fn silent_clients_make_room_for_a_probe() {
    let job = TestJob::on_a_cluster(1);
    let mut process = job.start();
    let address = process.address();
    let mut silent = silent_clients(&address);
    let probe = Client::at(&address, LIMIT);
    assert_eq!(probe.get("/livez"), (200, "ok\n".to_owned()));
    // The longest idle one had to go for it.
    silent[0].set_read_timeout(Some(LIMIT)).unwrap();
    assert!(matches!(silent[0].read(&mut [0]), Ok(0) | Err(_)));
    silent.extend(silent_clients(&address));
    let probe = Client::at(&address, LIMIT);
    assert_eq!(probe.get("/livez"), (200, "ok\n".to_owned()));
}

#[test]
fn who_waits_for_the_job_is_not_taken_for_silent() {
    let mut job = TestJob::new();
    job.config["listenAddress"] = json!("127.0.0.1:0");
    job.hold_up();
    let mut process = job.start();
    let address = process.address();
    job.wait_until_held_up();
    let client = Client::at(&address, LIMIT);
    let events = client.agent.get(format!("{}/v1/events", client.base));
    let events = events.call().unwrap().into_body().into_reader();
    let stopping = thread::spawn(move || client.post("/v1/stop", &json!({})));
    process.wait_for("phaseChanged", |event| event["phase"] == "Stopping");

    let _silent = silent_clients(&address);
    let probe = Client::at(&address, LIMIT);
    assert_eq!(probe.get("/livez").0, 200);
    job.go_on();
    let (status, answer) = stopping.join().unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(answer["checkpoint"].is_u64(), "{answer}");
    let told: Vec<_> = BufReader::new(events)
        .lines()
        .map_while(Result::ok)
        .collect();
    assert!(told.iter().any(|line| line == "event: ended"), "{told:#?}");
}
