//! Keeps web pages out: a browser on the same machine would carry any page's requests to a job.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Problem;

/// Refuses requests of foreign origins, and, where only this machine is served, those to foreign
/// host names, which a name server of the attacker's may have pointed here.
pub(super) async fn guard(
    State(is_loopback): State<bool>,
    request: Request,
    next: Next,
) -> Response {
    match check_headers(is_loopback, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(detail) => Problem::new(StatusCode::FORBIDDEN, "ForeignOrigin", detail).into_response(),
    }
}

fn check_headers(is_loopback: bool, headers: &HeaderMap) -> Result<(), &'static str> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = header(header::HOST).unwrap_or_default();
    check(is_loopback, host, header(header::ORIGIN))
}

fn check(is_loopback: bool, host: &str, origin: Option<&str>) -> Result<(), &'static str> {
    if let Some(origin) = origin {
        let origin_host = origin.split_once("://").map(|(_, host)| host);
        if origin_host != Some(host) {
            return Err("web pages of other origins may not use the job API");
        }
    }
    if is_loopback && !is_local(host) {
        return Err("this job is served to this machine only; use 127.0.0.1 or localhost");
    }
    Ok(())
}

/// Whether a `Host` header names an address, or this machine.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name == "localhost" || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1:8082", None)]
    #[case("localhost:8082", None)]
    #[case("[::1]:8082", None)]
    #[case("localhost", Some("http://localhost"))]
    #[case("127.0.0.1:8082", Some("http://127.0.0.1:8082"))]
    fn requests_of_this_machine_pass(#[case] host: &str, #[case] origin: Option<&str>) {
        assert_eq!(check(true, host, origin), Ok(()));
    }

    #[rstest]
    #[case(true, "127.0.0.1:8082", Some("https://example.com"))]
    #[case(true, "127.0.0.1:8082", Some("null"))]
    #[case(true, "rebound.example.com:8082", None)]
    #[case(false, "job.svc:8082", Some("https://example.com"))]
    fn requests_of_web_pages_are_refused(
        #[case] is_loopback: bool,
        #[case] host: &str,
        #[case] origin: Option<&str>,
    ) {
        assert!(check(is_loopback, host, origin).is_err());
    }

    #[test]
    fn a_job_served_to_a_network_takes_any_host_name() {
        assert_eq!(check(false, "job.default.svc:8082", None), Ok(()));
    }
}
