//! Files that stay: what is told of them, and the command that removes them.

use tidegate_api::spec::Storage;

use super::view::MESSAGE_BYTES_MAX;
use crate::text::bounded;

/// So much of a reason is told at least.
const WHY_BYTES_MIN: usize = 100;

/// Files stay at a place, for a reason that is cut short where need be: what to do must be whole.
pub fn files_left(place: &str, why: &str, advice: &str) -> String {
    let rest = format!("files were left at {place}: ; {advice}").len();
    let why = bounded(
        why,
        MESSAGE_BYTES_MAX.saturating_sub(rest).max(WHY_BYTES_MIN),
    );
    let message = format!("files were left at {place}: {why}; {advice}");
    bounded(&message, MESSAGE_BYTES_MAX)
}

/// A whole `tidegate` command, to be pasted into a shell.
pub fn command_line(arguments: &[&str], storage: Option<&Storage>) -> String {
    let options = storage.map(|storage| {
        [
            ("--endpoint", storage.endpoint.as_deref()),
            ("--region", storage.region.as_deref()),
        ]
    });
    let given = options.into_iter().flatten();
    let given = given.filter_map(|(option, value)| Some([option, value?]));
    let words = ["tidegate"].into_iter().chain(arguments.iter().copied());
    let words: Vec<String> = words.chain(given.flatten()).map(quoted).collect();
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_server_and_can_be_pasted() {
        let mut storage = Storage {
            url: "s3://b".to_owned(),
            endpoint: Some("http://minio:9000".to_owned()),
            region: Some("eu-west-1".to_owned()),
            secret_ref: None,
        };
        let arguments = ["checkpoints", "release", "s3://b/shop/orders", "7"];
        assert_eq!(
            command_line(&arguments, Some(&storage)),
            "tidegate checkpoints release s3://b/shop/orders 7 --endpoint http://minio:9000 \
             --region eu-west-1"
        );
        (storage.endpoint, storage.region) = (None, None);
        let arguments = [
            "checkpoints",
            "purge",
            "s3://b/orders?region=eu&virtualHost=true",
        ];
        assert_eq!(
            command_line(&arguments, Some(&storage)),
            "tidegate checkpoints purge 's3://b/orders?region=eu&virtualHost=true'"
        );
        assert_eq!(quoted("/it's here"), r"'/it'\''s here'");
    }

    #[test]
    fn a_long_reason_leaves_room_for_what_to_do() {
        let message = files_left("s3://b#7", &"denied ".repeat(500), "do it");
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        assert!(message.ends_with("…; do it"), "{message}");
        assert_eq!(
            files_left("x", "denied", "do it"),
            "files were left at x: denied; do it"
        );
    }
}
