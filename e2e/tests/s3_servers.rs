//! Each server starts, takes a signed put, and treats conditions as the table in its docs says.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tidegate_testkit::{Fault, FaultPlan, FaultProxy, S3Flavour, S3Server};

const BUCKET: &str = "tidegate-test";
const RACERS: usize = 8;
const ROUNDS: usize = 20;
/// Where the race that is to be met may be missed for long, by luck of scheduling.
const ROUNDS_MAX: usize = 2_000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Days since 1970 → year, month, day (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * month_index + 2) / 5 + 1)
}

/// Sends one request signed by AWS Signature Version 4; returns status and body.
fn request(
    server: &S3Server,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    is_conditional: bool,
) -> std::io::Result<(u16, String)> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    let (year, month, day) = civil(now / 86_400);
    let (hour, minute, second) = (now / 3_600 % 24, now / 60 % 60, now % 60);
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!("{date}T{hour:02}{minute:02}{second:02}Z");
    let body_hash = hex(&Sha256::digest(body));
    let headers = format!("host:{address}\nx-amz-content-sha256:{body_hash}\nx-amz-date:{time}\n");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!("{method}\n{path}\n\n{headers}\n{names}\n{body_hash}");
    let scope = format!("{date}/{}/s3/aws4_request", server.region());
    let canonical_hash = hex(&Sha256::digest(&canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical_hash}");
    let start = format!("AWS4{}", server.secret_key()).into_bytes();
    let parts = [date.as_str(), server.region(), "s3", "aws4_request"];
    let key = parts.iter().fold(start, |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &text));
    let condition = if is_conditional {
        "If-None-Match: *\r\n"
    } else {
        ""
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{condition}\
         Content-Length: {}\r\nx-amz-date: {time}\r\nx-amz-content-sha256: {body_hash}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
         Signature={signature}\r\n\r\n{body}",
        body.len(),
        server.access_key(),
    );
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_string()))
}

fn put_if_absent(server: &S3Server, key: &str, body: &str) -> u16 {
    let path = format!("/{BUCKET}/{key}");
    request(server, server.address(), "PUT", &path, body, true)
        .unwrap()
        .0
}

fn start(flavour: S3Flavour) -> S3Server {
    let server = S3Server::start(flavour).unwrap();
    server.create_bucket(BUCKET).unwrap();
    server
}

/// How many of several concurrent conditional puts of one name were told that they won, at most,
/// over some rounds; stops early when there were several.
fn most_winners(server: &S3Server, rounds: usize) -> usize {
    let mut most = 0;
    for round in 0..rounds {
        let key = format!("race-{round}");
        let barrier = Barrier::new(RACERS);
        let put = |body: String| {
            barrier.wait();
            put_if_absent(server, &key, &body)
        };
        let winners = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| scope.spawn(move || put(racer.to_string())))
                .collect();
            let statuses = racers.into_iter().map(|racer| racer.join().unwrap());
            statuses.filter(|status| *status == 200).count()
        });
        most = most.max(winners);
        if most > 1 {
            break;
        }
    }
    most
}

#[test]
fn minio_and_versitygw_have_one_winner_of_each_race() {
    for flavour in S3Flavour::GOOD {
        let server = start(flavour);
        assert_eq!(
            put_if_absent(&server, "a", "1"),
            200,
            "{flavour:?}: {}",
            server.log_tail()
        );
        assert_eq!(put_if_absent(&server, "a", "2"), 412, "{flavour:?}");
        assert_eq!(most_winners(&server, ROUNDS), 1, "{flavour:?}");
    }
}

#[test]
fn s3rver_ignores_the_condition() {
    let server = start(S3Flavour::S3rver);
    assert_eq!(
        put_if_absent(&server, "a", "1"),
        200,
        "{}",
        server.log_tail()
    );
    assert_eq!(put_if_absent(&server, "a", "2"), 200);
}

#[test]
fn s3s_fs_refuses_a_second_put_but_lets_racers_win() {
    let server = start(S3Flavour::S3sFs);
    assert_eq!(
        put_if_absent(&server, "a", "1"),
        200,
        "{}",
        server.log_tail()
    );
    assert_eq!(put_if_absent(&server, "a", "2"), 412);
    assert!(most_winners(&server, ROUNDS_MAX) > 1);
}

#[test]
fn objects_survive_a_kill_and_a_restart() {
    for flavour in S3Flavour::GOOD {
        let mut server = start(flavour);
        assert_eq!(put_if_absent(&server, "kept", "value"), 200);
        server.kill();
        assert!(TcpStream::connect(server.address()).is_err());
        server.restart().unwrap();
        let path = format!("/{BUCKET}/kept");
        let got = request(&server, server.address(), "GET", &path, "", false).unwrap();
        assert_eq!(got, (200, "value".to_string()), "{flavour:?}");
    }
}

#[test]
fn a_signed_request_passes_the_proxy_and_faults_do_what_they_say() {
    let server = start(S3Flavour::Versitygw);
    let proxy = FaultProxy::start(server.address(), FaultPlan::seeded(1)).unwrap();
    let put = |key: &str| {
        let path = format!("/{BUCKET}/{key}");
        request(&server, proxy.address(), "PUT", &path, "body", true).map(|answer| answer.0)
    };
    let is_there = |key: &str| {
        let path = format!("/{BUCKET}/{key}");
        request(&server, server.address(), "GET", &path, "", false)
            .unwrap()
            .0
            == 200
    };
    assert_eq!(put("plain").unwrap(), 200);

    proxy.hit_next(Fault::Reject(503), "PUT", "rejected");
    assert_eq!(put("rejected").unwrap(), 503);
    assert!(!is_there("rejected"));

    proxy.hit_next(Fault::ApplyThenFail(500), "PUT", "failed");
    assert_eq!(put("failed").unwrap(), 500);
    assert!(is_there("failed"));

    proxy.hit_next(Fault::Duplicate, "PUT", "twice");
    assert_eq!(put("twice").unwrap(), 412);
    assert!(is_there("twice"));

    proxy.hit_next(Fault::CutRequest, "PUT", "cut");
    assert_eq!(put("cut").unwrap_or(0), 0);
    assert!(!is_there("cut"));

    proxy.set_plan(FaultPlan::seeded(1).late_after(std::time::Duration::from_secs(3_600)));
    proxy.hit_next(Fault::ApplyLate, "PUT", "late");
    assert_eq!(put("late").unwrap(), 503);
    assert!(!is_there("late"));
    proxy.release_late();
    assert!(is_there("late"));
    assert_eq!(proxy.counts().injected(), 5);
}
