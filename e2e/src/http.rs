//! As much of HTTP/1.1 as a proxy and a readiness probe need: whole messages, kept as raw bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest head that is read; longer ones are refused.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// The largest body that is held in memory.
const BODY_LIMIT_BYTES: u64 = 1 << 30;
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// One request or response.
///
/// # Invariants
/// `head` ends with the empty line; `body` is as it came, chunk framing included, so that head
/// and body written one after the other are the message again.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The first line's words: method, target and version, or version, status and reason.
    fn first_line_word(&self, index: usize) -> &str {
        let end = self
            .head
            .iter()
            .position(|byte| *byte == b'\r')
            .unwrap_or(self.head.len());
        let line = std::str::from_utf8(&self.head[..end]).unwrap_or_default();
        line.split(' ').nth(index).unwrap_or_default()
    }

    /// A request's method.
    pub(crate) fn method(&self) -> &str {
        self.first_line_word(0)
    }

    /// A request's path and query.
    pub(crate) fn target(&self) -> &str {
        self.first_line_word(1)
    }

    /// A response's status; 0 when there is none.
    pub(crate) fn status(&self) -> u16 {
        self.first_line_word(1).parse().unwrap_or(0)
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let text = std::str::from_utf8(&self.head).ok()?;
        let fields = text
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    }

    /// Whether the sender closes the connection after this message.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Head and body as one piece.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), self.body.as_slice()].concat()
    }
}

/// Reads a request; `None` when the peer closed the connection between two.
pub(crate) fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Message>> {
    let Some(head) = read_head(stream)? else {
        return Ok(None);
    };
    let mut message = Message {
        head,
        body: Vec::new(),
    };
    if message.header("expect").is_some() {
        // The whole body is wanted before anything is forwarded.
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        message.head = without_header(&message.head, "expect");
    }
    message.body = read_body(stream, &message, false)?;
    Ok(Some(message))
}

/// Reads the response to a request of this method, interim ones skipped.
pub(crate) fn read_response(
    stream: &mut BufReader<TcpStream>,
    method: &str,
) -> io::Result<Message> {
    loop {
        let head = read_head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut message = Message {
            head,
            body: Vec::new(),
        };
        let status = message.status();
        if (100..200).contains(&status) {
            continue;
        }
        if method != "HEAD" && status != 204 && status != 304 {
            message.body = read_body(stream, &message, true)?;
        }
        return Ok(message);
    }
}

/// Asks for `path` and returns the status of the answer.
pub(crate) fn get_status(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(read_response(&mut BufReader::new(stream), "GET")?.status())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if stream.read_until(b'\n', &mut head)? == 0 {
            return if before == 0 {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        if &head[before..] == b"\r\n" {
            return Ok(Some(head));
        }
        if head.len() > HEAD_LIMIT_BYTES {
            return Err(invalid("the head is too long"));
        }
    }
}

fn read_body(
    stream: &mut impl BufRead,
    message: &Message,
    may_end_with_connection: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let is_chunked = message
        .header("transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    if is_chunked {
        read_chunks(stream, &mut body)?;
    } else if let Some(length) = message.header("content-length") {
        let length = length
            .parse()
            .map_err(|_| invalid("the content length is no number"))?;
        read_exactly(stream, length, &mut body)?;
    } else if may_end_with_connection {
        stream.take(BODY_LIMIT_BYTES).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// Reads a chunked body, framing and trailers included.
fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line_start = body.len();
        stream.read_until(b'\n', body)?;
        let line = String::from_utf8_lossy(&body[line_start..]);
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| invalid("no chunk size"))?;
        if size == 0 {
            break;
        }
        read_exactly(stream, size + 2, body)?;
    }
    loop {
        let line_start = body.len();
        if stream.read_until(b'\n', body)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if &body[line_start..] == b"\r\n" {
            return Ok(());
        }
    }
}

fn read_exactly(stream: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if length > BODY_LIMIT_BYTES {
        return Err(invalid("the body is too large"));
    }
    let read = stream.take(length).read_to_end(body)?;
    if read as u64 == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn without_header(head: &[u8], name: &str) -> Vec<u8> {
    let is_kept = |line: &&[u8]| {
        let key = line.split(|byte| *byte == b':').next().unwrap_or_default();
        !key.eq_ignore_ascii_case(name.as_bytes())
    };
    head.split_inclusive(|byte| *byte == b'\n')
        .filter(is_kept)
        .collect::<Vec<_>>()
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_kept_with_its_framing_and_nothing_after_it() {
        let wire = b"4\r\nabcd\r\n0\r\n\r\nNEXT".as_slice();
        let mut stream = wire;
        let mut body = Vec::new();
        read_chunks(&mut stream, &mut body).unwrap();
        assert_eq!(body, b"4\r\nabcd\r\n0\r\n\r\n");
        assert_eq!(stream, b"NEXT");
    }

    #[test]
    fn a_body_shorter_than_announced_is_an_error() {
        let mut stream = b"abc".as_slice();
        let error = read_exactly(&mut stream, 4, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_removed_header_leaves_the_others() {
        let head = b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nHost: a\r\n\r\n";
        assert_eq!(
            without_header(head, "expect"),
            b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n"
        );
    }

    #[test]
    fn names_of_headers_ignore_case() {
        let head = b"HTTP/1.1 200 OK\r\nContent-LENGTH: 7\r\n\r\n".to_vec();
        let message = Message {
            head,
            body: Vec::new(),
        };
        assert_eq!(message.header("content-length"), Some("7"));
        assert_eq!(message.status(), 200);
    }
}
