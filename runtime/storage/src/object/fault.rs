//! What an object store's answer, or its silence, means.

use std::error::Error as _;
use std::fmt;

use opendal::{Error, ErrorKind};

use crate::Fault;

/// An answer in few words: the server's code and message, or why there was none.
#[derive(Debug)]
pub(super) struct Answer {
    code: String,
    message: String,
    causes: Vec<String>,
}

impl Answer {
    /// Reads what the client library knows of a failed request.
    pub(super) fn of(error: &Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some layers repeat the layer below.
            if !causes
                .last()
                .is_some_and(|last: &String| last.contains(&text))
            {
                causes.push(text);
            }
            source = cause.source();
        }
        let text = error.message();
        Self {
            code: quoted(text, "code: \"").unwrap_or_default(),
            message: quoted(text, "message: \"").unwrap_or_else(|| text.trim().to_owned()),
            causes,
        }
    }

    /// What is wrong, by the server's code where it gave one, else by the status or the cause.
    pub(super) fn fault(&self, kind: ErrorKind) -> Fault {
        match self.code.as_str() {
            "NoSuchBucket" => Fault::MissingBucket,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "InvalidClientTokenId"
            | "InvalidSecurity"
            | "TokenRefreshRequired"
            | "XAdminUserNotFound" => Fault::WrongCredentials,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => Fault::WrongRegion,
            "RequestTimeTooSkewed" => Fault::ClockSkew,
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Fault::Forbidden,
            "QuotaExceeded"
            | "XMinioStorageFull"
            | "InsufficientStorage"
            | "XMinioAdminBucketQuotaExceeded" => Fault::Full,
            "SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout"
            | "TooManyRequests" | "OperationAborted" => Fault::Unavailable,
            "" => self.fault_without_code(kind),
            _ => match kind {
                ErrorKind::PermissionDenied => Fault::Forbidden,
                ErrorKind::RateLimited => Fault::Unavailable,
                _ => Fault::Other,
            },
        }
    }

    /// Whether the server itself says that it has no such bucket.
    pub(super) fn names_missing_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// Whether the answer says that an object is absent, and nothing worse: a server that knows no
    /// such user, and a proxy that knows no such server, may answer 404 too.
    pub(super) fn is_absence(&self, kind: ErrorKind) -> bool {
        kind == ErrorKind::NotFound && self.names_missing_key()
    }

    /// Whether the server itself says that it has no such object.
    pub(super) fn names_missing_key(&self) -> bool {
        matches!(self.code.as_str(), "NoSuchKey" | "NoSuchVersion")
    }

    fn fault_without_code(&self, kind: ErrorKind) -> Fault {
        let text = format!("{self}").to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match kind {
            ErrorKind::PermissionDenied => Fault::Forbidden,
            ErrorKind::NotFound => Fault::MissingBucket,
            ErrorKind::RateLimited => Fault::Unavailable,
            _ if has(&["credential"]) => Fault::NoCredentials,
            _ if has(&["certificate", "tls", "corrupt message"]) => Fault::Tls,
            _ if has(&["timed out", "timeout"]) => Fault::Timeout,
            _ if has(&[
                "tcp connect",
                "dns error",
                "(connect)",
                "connection refused",
            ]) =>
            {
                Fault::Unreachable
            }
            _ if has(&[
                "sending request",
                "send http request",
                "read data from http",
            ]) =>
            {
                Fault::Unreachable
            }
            _ => Fault::Other,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (false, _) => write!(f, "the server answered {}: {}", self.code, self.message)?,
            (true, false) => f.write_str(&self.message)?,
            (true, true) => f.write_str("the server gave no reason")?,
        }
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Answer {}

/// Whether asking again may help.
pub(super) fn is_retryable(error: &Error) -> bool {
    let fault = Answer::of(error).fault(error.kind());
    match fault {
        Fault::Tls | Fault::NoCredentials | Fault::WrongCredentials | Fault::Forbidden => false,
        Fault::Unavailable | Fault::Timeout | Fault::Unreachable => true,
        _ => error.is_temporary(),
    }
}

/// The text after a marker up to the next quote, with escaped quotes kept.
fn quoted(text: &str, marker: &str) -> Option<String> {
    let start = text.find(marker)? + marker.len();
    let mut quoted = String::new();
    let mut characters = text[start..].chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => quoted.extend(characters.next()),
            _ => quoted.push(c),
        }
    }
    (!quoted.is_empty()).then_some(quoted)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn answer(code: &str, message: &str) -> Error {
        // As the client library puts it.
        let text = format!(
            "S3Error {{ code: {code:?}, message: {message:?}, resource: \"\", request_id: \"1\" }}"
        );
        Error::new(ErrorKind::Unexpected, text)
    }

    #[rstest]
    #[case("NoSuchBucket", "BucketMissing")]
    #[case("SignatureDoesNotMatch", "CredentialsWrong")]
    #[case("InvalidAccessKeyId", "CredentialsWrong")]
    #[case("AccessDenied", "AccessDenied")]
    #[case("AuthorizationHeaderMalformed", "RegionWrong")]
    #[case("RequestTimeTooSkewed", "ClockSkew")]
    #[case("XMinioStorageFull", "StorageFull")]
    #[case("SlowDown", "StoreUnavailable")]
    fn the_servers_code_tells_the_fault(#[case] code: &str, #[case] category: &str) {
        let error = answer(code, "so it \"is\"");
        let found = Answer::of(&error);
        assert_eq!(found.fault(error.kind()).category(), category);
        assert_eq!(
            found.to_string(),
            format!("the server answered {code}: so it \"is\"")
        );
    }

    #[rstest]
    #[case(
        "tcp connect error: Connection refused (os error 111)",
        "StoreUnreachable"
    )]
    #[case("dns error: failed to lookup address information", "StoreUnreachable")]
    #[case("invalid peer certificate: UnknownIssuer", "TlsFailed")]
    #[case("operation timed out", "StoreTimeout")]
    fn silence_is_told_apart_by_its_cause(#[case] cause: &str, #[case] category: &str) {
        let source = std::io::Error::other(cause);
        let error = Error::new(ErrorKind::Unexpected, "send http request").set_source(source);
        assert_eq!(Answer::of(&error).fault(error.kind()).category(), category);
    }
}
