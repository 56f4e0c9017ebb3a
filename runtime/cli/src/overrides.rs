//! `--set path=value`: fields of a manifest given on the command line.

use crate::path::{FieldPath, Segment};
use crate::problem::Problem;
use crate::yaml::{Entry, Node, Origin, Value, parse_documents};

/// Puts each `path=value` into the document, in order. Values are YAML: `4` is a number, `"4"` and
/// `a` are text, `[a, b]` is a list; without a value the field is taken out.
///
/// # Errors
/// The first option that has no such form or does not fit the document.
pub(crate) fn apply(document: &mut Node, sets: &[String]) -> Result<(), Problem> {
    for (index, set) in sets.iter().enumerate() {
        let origin = Origin::Set(index);
        let wrong = |text: String| Problem {
            origin: Some(origin),
            path: String::new(),
            text,
        };
        let (path, value) = set.split_once('=').ok_or_else(|| {
            wrong("expected path=value, as in --set spec.parallelism=4".to_owned())
        })?;
        let path = FieldPath::parse(path.trim()).map_err(|error| wrong(error.to_string()))?;
        check_root(&path).map_err(wrong)?;
        let value = parse_value(value, origin).map_err(wrong)?;
        put(document, &path, value, origin)?;
    }
    Ok(())
}

/// A path from the document's root, whose other members are not for setting.
fn check_root(path: &FieldPath) -> Result<(), String> {
    match path.segments() {
        [Segment::Key(root), _, ..] if ["spec", "metadata"].contains(&root.as_str()) => Ok(()),
        [Segment::Key(root)] if ["spec", "metadata"].contains(&root.as_str()) => Err(format!(
            "a field below {root} is expected, as in {root}.{}=…",
            match root.as_str() {
                "spec" => "parallelism",
                _ => "name",
            }
        )),
        [Segment::Key(root), ..] if ["apiVersion", "kind", "status"].contains(&root.as_str()) => {
            Err(format!(
                "{root} of a manifest is not for setting; give a field below spec or metadata, as \
                 in spec.parallelism=4"
            ))
        }
        _ => Err(format!(
            "the path must begin at the manifest's root: did you mean spec.{path}?"
        )),
    }
}

fn parse_value(text: &str, origin: Origin) -> Result<Value, String> {
    let documents = parse_documents(text).map_err(|error| {
        format!("the value is no YAML: {error}; quote it within the option if it is text")
    })?;
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (None, _) => Ok(Value::Null),
        (Some(mut node), None) => {
            mark(&mut node, origin);
            Ok(node.value)
        }
        (Some(_), Some(_)) => Err("the value holds several YAML documents; give one".to_owned()),
    }
}

/// Makes the option the place of a whole tree.
fn mark(node: &mut Node, origin: Origin) {
    node.origin = origin;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| mark(item, origin)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.key_origin = origin;
            mark(&mut entry.node, origin);
        }),
        _ => {}
    }
}

fn put(document: &mut Node, path: &FieldPath, value: Value, origin: Origin) -> Result<(), Problem> {
    let mut node = document;
    let mut walked = FieldPath::default();
    for segment in path.segments() {
        if node.value == Value::Null {
            node.value = match segment {
                Segment::Key(_) => Value::Map(Vec::new()),
                Segment::Index(_) => Value::List(Vec::new()),
            };
        }
        let found = node.value.describe();
        let misfit = |wanted: &str| {
            let text = format!("it is {found}, and so has no {wanted}");
            Problem::at(origin, &walked, text)
        };
        let next = match (segment, &mut node.value) {
            (Segment::Key(key), Value::Map(entries)) => member(entries, key, origin),
            (Segment::Key(key), _) => return Err(misfit(&format!("field {key}"))),
            (Segment::Index(index), Value::List(items)) => {
                let count = items.len();
                if *index > count {
                    let text = format!("it has {count} elements; the next index is {count}");
                    return Err(Problem::at(origin, &walked, text));
                }
                if *index == count {
                    items.push(Node::new(Value::Null, origin));
                }
                &mut items[*index]
            }
            (Segment::Index(index), _) => return Err(misfit(&format!("element {index}"))),
        };
        walked = match segment {
            Segment::Key(key) => walked.key(key),
            Segment::Index(index) => walked.index(*index),
        };
        node = next;
    }
    *node = Node::new(value, origin);
    Ok(())
}

fn member<'a>(entries: &'a mut Vec<Entry>, key: &str, origin: Origin) -> &'a mut Node {
    let index = entries
        .iter()
        .position(|entry| entry.key == key)
        .unwrap_or_else(|| {
            let node = Node::new(Value::Null, origin);
            entries.push(Entry {
                key: key.to_owned(),
                key_origin: origin,
                node,
            });
            entries.len() - 1
        });
    &mut entries[index].node
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DOCUMENT: &str = "metadata: {name: a}\nspec: {parallelism: 1, program: {args: [x]}}\n";

    fn after(set: &str) -> Result<Node, String> {
        let mut document = parse_documents(DOCUMENT).unwrap().remove(0);
        let sets = [set.to_owned()];
        match apply(&mut document, &sets) {
            Ok(()) => Ok(document),
            Err(problem) => Err(problem.render("job.yaml", &sets).to_string()),
        }
    }

    fn value<'a>(document: &'a Node, path: &str) -> &'a Value {
        let mut node = document;
        for segment in FieldPath::parse(path).unwrap().segments() {
            node = match (segment, &node.value) {
                (Segment::Key(key), _) => node.get(key).unwrap(),
                (Segment::Index(index), Value::List(items)) => &items[*index],
                other => panic!("{other:?}"),
            };
        }
        &node.value
    }

    #[rstest]
    #[case("spec.parallelism=4", "spec.parallelism", Value::Integer(4))]
    #[case("spec.parallelism= 4 ", "spec.parallelism", Value::Integer(4))]
    #[case("spec.parallelism=", "spec.parallelism", Value::Null)]
    #[case("spec.program.image=\"4\"", "spec.program.image", Value::Text("4".into()))]
    #[case("spec.startFrom=s3://b/p#7", "spec.startFrom", Value::Text("s3://b/p#7".into()))]
    #[case("spec.program.args[0]=a=b", "spec.program.args[0]", Value::Text("a=b".into()))]
    #[case("spec.program.args[1]=z", "spec.program.args[1]", Value::Text("z".into()))]
    #[case("spec.program.args=[p, q]", "spec.program.args[1]", Value::Text("q".into()))]
    #[case("spec.program.env[0].name=A", "spec.program.env[0].name", Value::Text("A".into()))]
    #[case("spec.checkpoint.mode=A", "spec.checkpoint.mode", Value::Text("A".into()))]
    #[case("metadata.labels[\"a.b/c\"]=d", "metadata.labels[\"a.b/c\"]", Value::Text("d".into()))]
    fn a_field_is_set(#[case] set: &str, #[case] path: &str, #[case] expected: Value) {
        let document = after(set).unwrap();
        assert_eq!(value(&document, path), &expected);
        assert_eq!(
            document.origin_of(&FieldPath::parse(path).unwrap()),
            Origin::Set(0)
        );
    }

    #[rstest]
    #[case(
        "spec.parallelism",
        "expected path=value, as in --set spec.parallelism=4"
    )]
    #[case(
        "=4",
        "\"\" is no field's path; write it as in spec.parallelism, spec.program.args[0] \
         or spec.podTemplate.metadata.labels[\"app.kubernetes.io/name\"]"
    )]
    #[case(
        "parallelism=4",
        "the path must begin at the manifest's root: did you mean spec.parallelism?"
    )]
    #[case("spec=4", "a field below spec is expected, as in spec.parallelism=…")]
    #[case(
        "spec.parallelism.x=4",
        "spec.parallelism: it is the number 1, and so has no field x"
    )]
    #[case(
        "spec.program[0]=4",
        "spec.program: it is a map, and so has no element 0"
    )]
    #[case(
        "spec.program.args[5]=4",
        "spec.program.args: it has 1 elements; the next index is 1"
    )]
    fn an_option_that_does_not_fit_is_refused(#[case] set: &str, #[case] expected: &str) {
        assert_eq!(after(set).unwrap_err(), format!("--set {set}: {expected}"));
    }

    #[test]
    fn a_value_that_is_no_yaml_is_refused() {
        let message = after("spec.program.args=[a").unwrap_err();
        assert!(message.contains("the value is no YAML"), "{message}");
    }
}
