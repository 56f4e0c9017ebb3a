//! `tidegate probe`: asks an address over HTTP whether it is well.
//!
//! Tidegate's images hold nothing else that could: no shell and no curl.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::ProbeArgs;
use crate::failure::{Failure, print};

/// One try's time to connect, and then to answer.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
/// As much of an answer as is read.
const ANSWER_LIMIT_BYTES: u64 = 4096;

/// Asks until the answer is 200 or the time is over.
pub(crate) fn run(args: &ProbeArgs) -> Result<u8, Failure> {
    let target = Target::parse(&args.url).ok_or_else(|| {
        Failure::invalid(format!(
            "`{}` cannot be asked; give an address as in http://host:8080/readyz",
            args.url
        ))
    })?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout_seconds);
    loop {
        match target.ask() {
            Ok(answer) => {
                print(&format!("{}: {answer}\n", args.url))?;
                return Ok(0);
            }
            Err(problem) if Instant::now() + PAUSE >= deadline => {
                return Err(Failure::failed(format!("{}: {problem}", args.url)));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Where to ask, and for what.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    /// Host and port.
    authority: String,
    host: &'a str,
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let at = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
        (!host.is_empty() && is_plain(url)).then(|| Self {
            authority: if has_port {
                host.to_string()
            } else {
                format!("{host}:80")
            },
            host,
            path: if path.is_empty() { "/" } else { path },
        })
    }

    /// The first line of a good answer's body, or what is wrong.
    fn ask(&self) -> Result<String, String> {
        let answer = self.exchange().map_err(|error| error.to_string())?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or("the answer is no HTTP")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        let line = body.lines().next().unwrap_or_default();
        if status == "200" {
            Ok(line.to_string())
        } else {
            Err(format!("answered {status}: {line}"))
        }
    }

    /// HTTP/1.0, so that the answer ends with the connection.
    fn exchange(&self) -> std::io::Result<String> {
        let address = self.authority.to_socket_addrs()?.next();
        let address =
            address.ok_or_else(|| std::io::Error::other("the host's name has no address"))?;
        let mut stream = TcpStream::connect_timeout(&address, TRY_TIMEOUT)?;
        stream.set_read_timeout(Some(TRY_TIMEOUT))?;
        stream.set_write_timeout(Some(TRY_TIMEOUT))?;
        let request = format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", self.path, self.host);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives each of these answers to one connection, and its address.
    fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let _ = stream.read(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        format!("http://{address}/readyz")
    }

    fn probe(url: String, timeout_seconds: u64) -> Result<u8, Failure> {
        run(&ProbeArgs {
            url,
            timeout_seconds,
        })
    }

    #[test]
    fn an_address_that_becomes_well_in_time_is_well() {
        let url = server(&[
            "HTTP/1.1 503 Service Unavailable\r\n\r\nno leader yet\n",
            "HTTP/1.1 200 OK\r\n\r\nok\n",
        ]);
        assert_eq!(probe(url, 10), Ok(0));
    }

    #[test]
    fn the_reason_of_one_that_does_not_is_told() {
        let url = server(&["HTTP/1.1 503 Service Unavailable\r\n\r\nno leader yet\n"]);
        let failure = probe(url.clone(), 0).unwrap_err();
        assert_eq!(
            failure.messages,
            [format!("{url}: answered 503: no leader yet")]
        );
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        for url in [
            "https://a/",
            "a:8080",
            "http://",
            "http:///x",
            "http://a/b c",
        ] {
            assert_eq!(Target::parse(url), None, "{url}");
        }
        let target = Target::parse("http://a").unwrap();
        assert_eq!((target.authority.as_str(), target.path), ("a:80", "/"));
    }
}
