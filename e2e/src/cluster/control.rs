//! How the outside speaks to the cluster's first process: one line there, one line back, over a
//! socket in the cluster's folder, which is the same file in every namespace.
//!
//! ```text
//!   stop NAME | start NAME  ──►  first process  ──►  ok | why not
//! ```

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Component, Error, Result};

/// How long the first process may take; it answers once a component is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What the outside may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGKILL, and no new start.
    Stop(Component),
    /// Start again after a stop; nothing when it runs.
    Start(Component),
}

impl Request {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, name) = line.trim().split_once(' ')?;
        let component = Component::named(name)?;
        match verb {
            "stop" => Some(Self::Stop(component)),
            "start" => Some(Self::Start(component)),
            _ => None,
        }
    }

    fn line(self) -> String {
        match self {
            Self::Stop(component) => format!("stop {}", component.name()),
            Self::Start(component) => format!("start {}", component.name()),
        }
    }
}

/// The socket's path, which must stay below 108 bytes.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// Sends a request and waits until it is done.
///
/// # Errors
/// When the first process is gone, or says why it cannot.
pub(crate) fn send(folder: &Path, request: Request) -> Result<()> {
    let line = request.line();
    let refused = |answer: String| Error::Control {
        request: line.clone(),
        answer,
    };
    let answer = exchange(folder, &line).map_err(|e| refused(e.to_string()))?;
    if answer == "ok" {
        Ok(())
    } else {
        Err(refused(answer))
    }
}

fn exchange(folder: &Path, line: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket(folder))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_as_what_it_was() {
        for component in Component::ALL {
            for request in [Request::Stop(component), Request::Start(component)] {
                assert_eq!(Request::parse(&request.line()), Some(request));
            }
        }
        assert_eq!(Request::parse("stop nothing"), None);
        assert_eq!(Request::parse("restart etcd"), None);
    }
}
