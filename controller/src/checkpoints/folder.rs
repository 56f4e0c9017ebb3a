//! Job folders: which one a location names, and whether two names mean the same one.

use xxhash_rust::xxh3::xxh3_64;

/// The job's folder in a checkpoint's location: what stands before the number.
pub(super) fn folder_of(location: &str) -> &str {
    let parts = location.rsplit_once('#');
    parts.map_or(location, |(folder, _)| folder)
}

/// Whether two URLs name one folder. What only one of them tells, such as its server, is no
/// difference: to take one folder for two would have a pod release what a running job retains.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (Place::of(one), Place::of(other));
    let is_open = one.endpoint.is_none() || other.endpoint.is_none();
    one.path == other.path && (is_open || one.endpoint == other.endpoint)
}

/// Six hexadecimal digits that tell one folder from others, however it is written.
pub(super) fn short_hash(folder: &str) -> String {
    let place = Place::of(folder);
    let text = format!("{} {}", place.path, place.endpoint.unwrap_or_default());
    format!("{:06x}", xxh3_64(text.as_bytes()) & 0xff_ffff)
}

/// What of a URL tells folders apart.
struct Place<'a> {
    /// `s3://bucket/prefix`, or an absolute path.
    path: String,
    /// The S3 server, where the URL's parameters name one.
    endpoint: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(url: &'a str) -> Self {
        let (path, parameters) = match url.split_once('?') {
            Some(parts) if url.contains("://") => parts,
            _ => (url, ""),
        };
        let path = match path.split_once("://") {
            Some(("s3a", rest)) => format!("s3://{rest}"),
            Some(("file", rest)) => rest.to_owned(),
            _ => path.to_owned(),
        };
        let mut parameters = parameters.split('&');
        let endpoint = parameters.find_map(|pair| pair.strip_prefix("endpoint="));
        Self {
            path: path.trim_end_matches('/').to_owned(),
            endpoint: endpoint.map(|endpoint| endpoint.trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("s3://bucket/x/shop/orders#7", "s3://bucket/x/shop/orders")]
    #[case("s3://b/shop/orders?region=eu#12", "s3://b/shop/orders?region=eu")]
    #[case("/data/shop/orders", "/data/shop/orders")]
    fn a_location_names_its_folder(#[case] location: &str, #[case] folder: &str) {
        assert_eq!(folder_of(location), folder);
    }

    #[rstest]
    #[case("s3://b/x", "s3://b/x", true)]
    #[case("s3a://b/x//", "s3://b/x", true)]
    #[case("file:///data/x", "/data/x/", true)]
    #[case("s3://b/x?region=eu", "s3://b/x?region=us", true)]
    #[case("s3://b/x?endpoint=http://m:9000/", "s3://b/x", true)]
    #[case(
        "s3://b/x?endpoint=http://m",
        "s3://b/x?region=eu&endpoint=http://m/",
        true
    )]
    #[case("s3://b/x?endpoint=http://m", "s3://b/x?endpoint=http://n", false)]
    #[case("s3://b/x", "s3://c/x", false)]
    #[case("s3://b/x", "s3://b/x/y", false)]
    #[case("/data/x", "s3://data/x", false)]
    fn folders_are_told_apart(#[case] one: &str, #[case] other: &str, #[case] expected: bool) {
        assert_eq!(is_same(one, other), expected);
        assert_eq!(is_same(other, one), expected);
    }

    #[test]
    fn a_folder_has_one_hash_however_it_is_written() {
        let hash = short_hash("s3a://bucket/x/?region=eu");
        assert_eq!(hash.len(), 6);
        assert_eq!(hash, short_hash("s3://bucket/x"));
        assert_ne!(hash, short_hash("s3://bucket/y"));
    }
}
