//! Storage URLs: a local folder or a prefix of an S3 bucket, parsed once and printed again.

use std::fmt;
use std::path::PathBuf;

use crate::{Result, StorageError};

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StorageUrl {
    /// A folder of this machine or of a file system mounted here.
    Local(PathBuf),
    /// A prefix of a bucket of an S3-compatible store.
    S3(S3Url),
}

/// A prefix of a bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Url {
    /// The bucket.
    pub bucket: String,
    /// Within the bucket; no slash at either end, empty for the whole bucket.
    pub prefix: String,
    /// The server, as `http://host:port`; the environment's or Amazon's where absent.
    pub endpoint: Option<String>,
    /// The region; the environment's where absent.
    pub region: Option<String>,
    /// Whether the bucket is part of the host's name; chosen by the endpoint where absent.
    pub is_virtual_host: Option<bool>,
}

const KNOWN_SCHEMES: [&str; 3] = ["file", "s3", "s3a"];
const KNOWN_PARAMETERS: &str = "endpoint, region and virtualHost";
const NO_CREDENTIALS: &str =
    "must not hold credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead";

impl StorageUrl {
    /// Reads a plain path, `file:///path` or
    /// `s3://bucket/prefix?endpoint=http://host:9000&region=us-east-1&virtualHost=false`.
    ///
    /// # Errors
    /// Says which part cannot be used, and what is expected.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |problem: String| StorageError::InvalidUrl {
            url: without_credentials(text),
            problem,
        };
        if text.is_empty() {
            return Err(invalid(
                "it is empty; give a folder or `s3://bucket/prefix`".into(),
            ));
        }
        if text.contains('\0') {
            return Err(invalid("it contains a zero byte".into()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match with_too_few_slashes(text) {
                Some((scheme, _)) => Err(invalid(too_few_slashes(scheme))),
                None => Ok(Self::Local(PathBuf::from(text))),
            };
        };
        match scheme {
            "file" => parse_file(rest).map(Self::Local).map_err(invalid),
            "s3" | "s3a" => parse_s3(rest).map(Self::S3).map_err(invalid),
            other => Err(invalid(format!(
                "scheme `{other}` is not supported; give a path, `file:///path` or \
                 `s3://bucket/prefix`"
            ))),
        }
    }

    /// The URL of something below this one; `path` has no slash at its start.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        match self {
            Self::Local(folder) => Self::Local(folder.join(path)),
            Self::S3(url) => Self::S3(S3Url {
                prefix: join_key(&url.prefix, path),
                ..url.clone()
            }),
        }
    }
}

/// Joins two parts of a key, either of which may be empty.
pub(crate) fn join_key(prefix: &str, path: &str) -> String {
    match (prefix.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}/{path}"),
    }
}

/// Scheme and rest of what is meant as a URL, but has too few slashes behind the colon, as in
/// `file:/path`. As a path it would be a folder below the current one.
fn with_too_few_slashes(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_known = KNOWN_SCHEMES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme));
    let is_word = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
    let is_meant = is_known || (is_word && rest.starts_with('/'));
    is_meant.then(|| (scheme, rest.trim_start_matches('/')))
}

fn too_few_slashes(scheme: &str) -> String {
    let form = match scheme.to_ascii_lowercase().as_str() {
        "file" => "a file URL has three slashes and an absolute path: `file:///path`",
        "s3" | "s3a" => "an S3 URL has two slashes: `s3://bucket/prefix`",
        _ => "give a path, `file:///path` or `s3://bucket/prefix`",
    };
    format!(
        "`{scheme}:` looks like a URL's scheme: {form}; write `./{scheme}:…` for a folder of that \
         name"
    )
}

/// The URL without what may be a secret: what stands before an `@`, and parameters with one.
fn without_credentials(text: &str) -> String {
    let parts = text.split_once("://");
    let Some((scheme, rest)) = parts.or_else(|| with_too_few_slashes(text)) else {
        return text.to_owned();
    };
    let separator = &text[scheme.len()..text.len() - rest.len()];
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) if holds_credentials(query) => (path, "?…"),
        Some((path, _)) => (path, &rest[path.len()..]),
        None => (rest, ""),
    };
    match after_user_info(path) {
        Some(after) => format!("{scheme}{separator}…@{after}{query}"),
        None => format!("{scheme}{separator}{path}{query}"),
    }
}

/// What stands behind the last `@`, if an authority's user and password stand before it. Those may
/// have slashes, but no bucket has a colon.
fn after_user_info(path: &str) -> Option<&str> {
    let (before, after) = path.rsplit_once('@').or_else(|| path.rsplit_once("%40"))?;
    let authority = before.split('/').next().unwrap_or_default();
    (authority == before || authority.contains(['@', ':'])).then_some(after)
}

/// Whether there is an `@`, however often it is encoded, in text that needs none.
fn holds_credentials(text: &str) -> bool {
    let is_at = |after: &str| after.trim_start_matches("25").starts_with("40");
    text.contains('@') || text.split('%').skip(1).any(is_at)
}

fn parse_file(rest: &str) -> Result<PathBuf, String> {
    if !rest.starts_with('/') {
        return Err("a file URL has three slashes and an absolute path: `file:///path`".into());
    }
    Ok(PathBuf::from(percent_decode(rest)?))
}

fn parse_s3(rest: &str) -> Result<S3Url, String> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, query),
        None => (rest, ""),
    };
    if after_user_info(path).is_some() || holds_credentials(query) {
        return Err(format!("it {NO_CREDENTIALS}"));
    }
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    check_bucket(bucket)?;
    let prefix = prefix.trim_matches('/');
    if prefix.split('/').any(|part| part == "." || part == "..") {
        return Err("the prefix must not contain `.` or `..`".into());
    }
    if !prefix.is_empty() && prefix.split('/').any(str::is_empty) {
        return Err("the prefix must not contain `//`".into());
    }
    let mut url = S3Url {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: None,
        region: None,
        is_virtual_host: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        set_parameter(&mut url, pair)?;
    }
    Ok(url)
}

fn check_bucket(bucket: &str) -> Result<(), String> {
    if bucket.is_empty() {
        return Err("the bucket is missing: `s3://bucket/prefix`".into());
    }
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_allowed) {
        return Err(format!(
            "bucket `{bucket}` must be 3 to 63 lower-case letters, digits, dots or dashes"
        ));
    }
    Ok(())
}

fn set_parameter(url: &mut S3Url, pair: &str) -> Result<(), String> {
    let (name, value) = pair
        .split_once('=')
        .ok_or_else(|| format!("parameter `{pair}` has no value: `?name=value`"))?;
    let value = percent_decode(value)?;
    if value.is_empty() {
        return Err(format!("parameter `{name}` is empty"));
    }
    match name {
        "endpoint" => url.endpoint = Some(check_endpoint(&value)?),
        "region" => url.region = Some(value),
        "virtualHost" => {
            url.is_virtual_host = Some(value.parse().map_err(|_| {
                format!("parameter `virtualHost` is `{value}`, but must be `true` or `false`")
            })?);
        }
        other => {
            return Err(format!(
                "parameter `{other}` is not known; known are {KNOWN_PARAMETERS}"
            ));
        }
    }
    Ok(())
}

/// Checks a server's address, wherever it was given, and drops a slash at its end.
pub(crate) fn check_endpoint(endpoint: &str) -> Result<String, String> {
    if holds_credentials(endpoint) {
        return Err(format!("the endpoint {NO_CREDENTIALS}"));
    }
    let host = endpoint
        .strip_prefix("http://")
        .or_else(|| endpoint.strip_prefix("https://"))
        .ok_or_else(|| format!("endpoint `{endpoint}` must begin with `http://` or `https://`"))?;
    if host.trim_end_matches('/').is_empty() {
        return Err(format!("endpoint `{endpoint}` names no host"));
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

fn percent_decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.ok_or_else(|| {
            format!("`{text}` has a `%` that two hexadecimal digits must follow (`%25` for `%`)")
        })?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("`{text}` is not UTF-8 once decoded"))
}

/// Encodes what would end or change the part of a URL that `text` is put into.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_control() || " %?#&+".contains(c) {
            encoded.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            encoded.push(c);
        }
    }
    encoded
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) if path.is_absolute() => {
                write!(f, "file://{}", percent_encode(&path.to_string_lossy()))
            }
            Self::Local(path) => path.display().fmt(f),
            Self::S3(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for S3Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        let parameters = [
            ("endpoint", self.endpoint.clone()),
            ("region", self.region.clone()),
            ("virtualHost", self.is_virtual_host.map(|is| is.to_string())),
        ];
        let mut separator = '?';
        for (name, value) in parameters {
            if let Some(value) = value {
                write!(f, "{separator}{name}={}", percent_encode(&value))?;
                separator = '&';
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("state", "state")]
    #[case("./a b", "./a b")]
    #[case("./s3:/a", "./s3:/a")]
    #[case("a:b", "a:b")]
    #[case("/srv/state", "file:///srv/state")]
    #[case("file:///srv/a%20b%3F", "file:///srv/a%20b%3F")]
    #[case("s3://bucket", "s3://bucket")]
    #[case("s3a://bucket/a/b/", "s3://bucket/a/b")]
    #[case(
        "s3://bucket/p?endpoint=http%3A%2F%2F127.0.0.1:9000/&region=eu&virtualHost=true",
        "s3://bucket/p?endpoint=http://127.0.0.1:9000&region=eu&virtualHost=true"
    )]
    fn urls_are_read_and_printed_again(#[case] given: &str, #[case] printed: &str) {
        let url = StorageUrl::parse(given).unwrap();
        assert_eq!(url.to_string(), printed);
        assert_eq!(StorageUrl::parse(printed).unwrap(), url);
    }

    #[rstest]
    #[case("", "it is empty")]
    #[case("gs://bucket", "scheme `gs` is not supported")]
    #[case("file://host/path", "three slashes")]
    #[case("file:/srv/x", "three slashes and an absolute path: `file:///path`")]
    #[case("File:x", "write `./File:…` for a folder of that name")]
    #[case("s3:/bucket/x", "two slashes: `s3://bucket/prefix`")]
    #[case("s3a:bucket", "two slashes: `s3://bucket/prefix`")]
    #[case(
        "gs:/bucket",
        "`gs:` looks like a URL's scheme: give a path, `file:///path`"
    )]
    #[case("file:///a%zz", "two hexadecimal digits")]
    #[case("file:///a%é", "two hexadecimal digits")]
    #[case("s3://", "the bucket is missing")]
    #[case("s3://UPPER/x", "bucket `UPPER`")]
    #[case("s3://bucket/a/../b", "`..`")]
    #[case("s3://bucket/a//b", "`//`")]
    #[case("s3://bucket?endpoint=localhost:9000", "must begin with `http://`")]
    #[case("s3://bucket?endpoint=http://", "names no host")]
    #[case("s3://bucket?virtualHost=yes", "must be `true` or `false`")]
    #[case("s3://bucket?regoin=eu", "parameter `regoin` is not known")]
    #[case("s3://bucket?region", "has no value")]
    #[case("s3://bucket?region=", "`region` is empty")]
    fn a_bad_url_is_refused_with_what_is_wrong(#[case] given: &str, #[case] problem: &str) {
        let error = StorageUrl::parse(given).unwrap_err();
        assert_eq!(error.category(), "InvalidStorageUrl");
        assert!(error.to_string().contains(problem), "{error}");
    }

    #[rstest]
    #[case("s3://key:secret@bucket/p", "`s3://…@bucket/p`")]
    #[case(
        "s3://key:sec/secret@bucket/p?region=eu",
        "`s3://…@bucket/p?region=eu`"
    )]
    #[case("s3://key:secret%40bucket/p", "`s3://…@bucket/p`")]
    #[case(
        "s3://bucket/p?endpoint=http://key:secret@minio:9000",
        "`s3://bucket/p?…`"
    )]
    #[case(
        "s3://bucket/p?endpoint=http://key:secret%40minio",
        "`s3://bucket/p?…`"
    )]
    #[case(
        "s3://bucket/p?endpoint=http://key:secret%252540%zz",
        "`s3://bucket/p?…`"
    )]
    #[case("s3a://bucket?region=eu&endpoint=key:secret@minio", "`s3a://bucket?…`")]
    fn credentials_in_a_url_are_refused_and_not_repeated(#[case] given: &str, #[case] told: &str) {
        let error = StorageUrl::parse(given).unwrap_err().to_string();
        assert!(error.contains("must not hold credentials"), "{error}");
        assert!(error.contains(told) && !error.contains("secret"), "{error}");
    }

    #[test]
    fn credentials_in_a_url_with_too_few_slashes_are_not_repeated() {
        let error = StorageUrl::parse("s3:/key:secret@bucket/p").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`s3:/…@bucket/p`"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[rstest]
    #[case("http://key:secret@minio:9000")]
    #[case("key:secret@minio")]
    #[case("https://key:secret%40minio")]
    fn credentials_in_an_endpoint_are_refused_and_not_repeated(#[case] given: &str) {
        let error = check_endpoint(given).unwrap_err();
        assert!(error.contains("must not hold credentials"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn an_at_sign_in_a_path_is_no_secret() {
        let url = StorageUrl::parse("s3://bucket/team@home").unwrap();
        assert_eq!(url.to_string(), "s3://bucket/team@home");
        let error = StorageUrl::parse("gs://bucket/a@b").unwrap_err();
        assert!(error.to_string().contains("`gs://bucket/a@b`"), "{error}");
    }
}
