//! From a file's text to a job that can be run. Pure: the caller reads the file.

use tidegate_api::labels::{API_VERSION, GROUP, STREAM_JOB_KIND};
use tidegate_api::{Metadata, StreamJobSpec, ValidJob, validate};

use crate::fields;
use crate::overrides;
use crate::path::FieldPath;
use crate::problem::{Problem, nearest};
use crate::yaml::{Entry, Node, Origin, Value, parse_documents};

/// Metadata that objects have on a cluster, and that means nothing without one.
const CLUSTER_METADATA: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
const ROOT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// Reads the `StreamJob` of a file, the one with a name (or `namespace/name`) where it holds
/// several, with the `--set` options applied.
///
/// # Errors
/// Everything that is wrong, as far as it can be told.
pub(crate) fn read(
    text: &str,
    job: Option<&str>,
    sets: &[String],
) -> Result<ValidJob, Vec<Problem>> {
    let documents = parse_documents(text).map_err(|error| vec![error.into()])?;
    let mut document = choose(documents, job).map_err(|problem| vec![problem])?;
    overrides::apply(&mut document, sets).map_err(|problem| vec![problem])?;
    let mut problems = check_root(&document);
    let metadata: Option<Metadata> = part(&document, "metadata", &mut problems);
    let spec: Option<StreamJobSpec> = part(&document, "spec", &mut problems);
    let (Some(metadata), Some(spec)) = (metadata, spec) else {
        return Err(problems);
    };
    match validate(&metadata, &spec) {
        Ok(job) if problems.is_empty() => Ok(job),
        Ok(_) => Err(problems),
        Err(errors) => {
            problems.extend(errors.iter().map(|error| {
                let text = format!("{}; {}", error.problem, error.remedy);
                Problem::in_document(&document, &error.path, text)
            }));
            // As one comes across them in the file; those of options last.
            problems.sort_by_key(|problem| match problem.origin {
                Some(Origin::File(position)) => (position.line, position.column),
                Some(Origin::Set(_)) | None => (usize::MAX, 0),
            });
            Err(problems)
        }
    }
}

/// The only `StreamJob`, or the one that is asked for.
fn choose(documents: Vec<Node>, job: Option<&str>) -> Result<Node, Problem> {
    if documents.is_empty() {
        return Err(Problem::of_file(
            "it holds no document; write a StreamJob into it",
        ));
    }
    let (jobs, others): (Vec<_>, Vec<_>) = documents
        .into_iter()
        .partition(|document| document.get_text("kind") == Some(STREAM_JOB_KIND));
    if jobs.is_empty() {
        return Err(no_job(&others));
    }
    let names: Vec<String> = jobs.iter().map(name_of).collect();
    let mut chosen = jobs.into_iter().filter(|document| match job {
        None => true,
        Some(wanted) => is_named(document, wanted),
    });
    match (chosen.next(), chosen.next()) {
        (Some(document), None) => Ok(document),
        (None, _) => {
            let wanted = job.unwrap_or_default();
            let names = names.join(", ");
            Err(Problem::of_file(format!(
                "it holds no StreamJob {wanted}; it holds {names}"
            )))
        }
        (Some(_), Some(_)) => {
            let all = names.join(", ");
            let text = match job {
                None => format!("it holds several StreamJobs, {all}; choose one with --job"),
                Some(job) if job.contains('/') => format!(
                    "it holds several StreamJobs {job}; remove all but one, or give them different \
                     names"
                ),
                Some(job) => format!(
                    "it holds several StreamJobs {job}, among {all}; choose one of another \
                     namespace with --job NAMESPACE/{job}, or give them different names"
                ),
            };
            Err(Problem::of_file(text))
        }
    }
}

fn no_job(others: &[Node]) -> Problem {
    let kinds: Vec<&str> = others
        .iter()
        .map(|document| document.get_text("kind").unwrap_or("no kind"))
        .collect();
    let text = match (
        others,
        kinds
            .iter()
            .find_map(|kind| nearest(kind, &[STREAM_JOB_KIND])),
    ) {
        ([only], _) if only.get("kind").is_none() => {
            format!(
                "the document has no kind; begin it with apiVersion: {API_VERSION} and \
                     kind: {STREAM_JOB_KIND}"
            )
        }
        (_, Some(near)) => {
            format!(
                "it holds no {STREAM_JOB_KIND} but {}; did you mean {near}?",
                kinds.join(", ")
            )
        }
        (_, None) => format!("it holds no {STREAM_JOB_KIND} but {}", kinds.join(", ")),
    };
    match others {
        [only] => Problem::in_document(only, "kind", text),
        _ => Problem::of_file(text),
    }
}

fn metadata_text<'a>(document: &'a Node, key: &str) -> Option<&'a str> {
    document
        .get("metadata")
        .and_then(|metadata| metadata.get_text(key))
}

fn name_of(document: &Node) -> String {
    let name = metadata_text(document, "name").unwrap_or("(no name)");
    match metadata_text(document, "namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

fn is_named(document: &Node, wanted: &str) -> bool {
    let name = metadata_text(document, "name").unwrap_or_default();
    let namespace =
        metadata_text(document, "namespace").unwrap_or(tidegate_api::manifest::DEFAULT_NAMESPACE);
    wanted == name || wanted == format!("{namespace}/{name}")
}

/// Checks the version and the members of the document itself.
fn check_root(document: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let version = document.get_text("apiVersion");
    if version != Some(API_VERSION) {
        let text = match version {
            Some(other) if other.split('/').next() == Some(GROUP) => {
                format!("this tidegate knows {API_VERSION} only, not {other}")
            }
            Some(other) => format!("a {STREAM_JOB_KIND} has {API_VERSION}, not {other}"),
            None => format!("it is missing; write apiVersion: {API_VERSION}"),
        };
        problems.push(Problem::in_document(document, "apiVersion", text));
    }
    let Value::Map(entries) = &document.value else {
        return problems;
    };
    for Entry {
        key, key_origin, ..
    } in entries
    {
        if !ROOT.contains(&key.as_str()) {
            let text = match nearest(key, ROOT) {
                Some(near) => format!("there is no such field; did you mean {near}?"),
                None => "there is no such field; did you mean to put it under spec?".to_owned(),
            };
            let path = FieldPath::default().key(key);
            problems.push(Problem::at(*key_origin, &path, text));
        }
    }
    problems
}

/// One of the document's two parts, typed.
fn part<T: for<'de> serde::Deserialize<'de>>(
    document: &Node,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let Some(node) = document.get(name) else {
        problems.push(Problem::in_document(
            document,
            name,
            "it is missing; give it",
        ));
        return None;
    };
    let mut node = node.clone();
    if name == "metadata"
        && let Value::Map(entries) = &mut node.value
    {
        entries.retain(|entry| !CLUSTER_METADATA.contains(&entry.key.as_str()));
    }
    fields::read(&node, &FieldPath::default().key(name), problems)
}

#[cfg(test)]
mod tests;
