//! From parser events to trees. Bounded in length, depth and size, aliases included.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Entry, Node, Origin, Position, Value, plain_scalar};

/// The longest file that is read; etcd takes objects of half this size.
pub(crate) const LENGTH_LIMIT: usize = 3 << 20;
/// The most nodes of one file, so that aliases of aliases cannot fill the memory.
const NODE_LIMIT: usize = 200_000;
const MERGE_KEY: &str = "<<";

/// Why a text is no YAML that a manifest can be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum YamlError {
    #[error("{position}: {problem}")]
    Syntax { position: Position, problem: String },
    #[error("{position}: the key {key:?} was given before, at {first}; remove one of them")]
    DuplicateKey {
        position: Position,
        key: String,
        first: Position,
    },
    #[error("{position}: a map or a list cannot be a key; quote it if it is text")]
    Key { position: Position },
    #[error("{position}: << merges maps only; give a map, an alias of one, or a list of those")]
    Merge { position: Position },
    #[error("{position}: the tag {tag} has no meaning in a manifest; remove it")]
    Tag { position: Position, tag: String },
    #[error("the file has more than {NODE_LIMIT} values, aliases counted; shorten it")]
    TooManyNodes,
    #[error("the file is longer than {LENGTH_LIMIT} bytes; a manifest must be shorter")]
    TooLong,
}

impl YamlError {
    /// Where the mistake is, unless it is the whole file's.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Syntax { position, .. }
            | Self::DuplicateKey { position, .. }
            | Self::Key { position }
            | Self::Merge { position }
            | Self::Tag { position, .. } => Some(*position),
            Self::TooManyNodes | Self::TooLong => None,
        }
    }
}

/// Reads every document of a text; empty documents are left out.
///
/// # Errors
/// The first mistake, with its place.
pub(crate) fn parse_documents(text: &str) -> Result<Vec<Node>, YamlError> {
    if text.len() > LENGTH_LIMIT {
        return Err(YamlError::TooLong);
    }
    // Another crate in the same build can switch on that the parser tells of comments.
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    while let Some(item) = builder.parser.next() {
        let (event, _) = item.map_err(|error| syntax(&error))?;
        match event {
            Event::DocumentStart(..) => {
                let (event, span) = builder.next_event()?;
                let is_implicit = span.start.index() == span.end.index();
                let document = builder.node(event, span)?;
                if !(is_implicit && document.value == Value::Null) {
                    documents.push(document);
                }
                builder.anchors.clear();
            }
            Event::StreamEnd => break,
            _ => {}
        }
    }
    Ok(documents)
}

struct Builder<'text> {
    parser: Parser<'text, granit_parser::StrInput<'text>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'text> Builder<'text> {
    fn next_event(&mut self) -> Result<(Event<'text>, Span), YamlError> {
        match self.parser.next() {
            Some(item) => item.map_err(|error| syntax(&error)),
            // The parser ends every stream by an event, so this is a text that it gave up on.
            None => Err(YamlError::Syntax {
                position: Position { line: 1, column: 1 },
                problem: "the text ends within a value".to_owned(),
            }),
        }
    }

    fn count(&mut self, nodes: usize) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes > NODE_LIMIT {
            Err(YamlError::TooManyNodes)
        } else {
            Ok(())
        }
    }

    /// The node that an event begins. The parser bounds the nesting, and so this recursion.
    fn node(&mut self, event: Event<'text>, span: Span) -> Result<Node, YamlError> {
        self.count(1)?;
        let position = position(&span.start);
        let origin = Origin::File(position);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref(), position)?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (Value::List(self.list()?), anchor),
            Event::MappingStart(_, anchor, _) => (Value::Map(self.map()?), anchor),
            Event::Alias(id) => {
                let node = self
                    .anchors
                    .get(&id)
                    .cloned()
                    .ok_or_else(|| YamlError::Syntax {
                        position,
                        problem: "an alias cannot stand within its own anchor".to_owned(),
                    })?;
                self.count(size(&node))?;
                return Ok(node);
            }
            other => {
                let problem = format!("{other:?} where a value belongs");
                return Err(YamlError::Syntax { position, problem });
            }
        };
        let node = Node::new(value, origin);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next_event()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<Entry>, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next_event()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let position = position(&span.start);
            let key = key(event, position)?;
            let (event, span) = self.next_event()?;
            let node = self.node(event, span)?;
            if key == MERGE_KEY {
                merged.extend(merge_sources(node, position)?);
                continue;
            }
            if let Some(first) = entries.iter().find(|entry| entry.key == key)
                && let Origin::File(first) = first.key_origin
            {
                return Err(YamlError::DuplicateKey {
                    position,
                    key,
                    first,
                });
            }
            entries.push(Entry {
                key,
                key_origin: Origin::File(position),
                node,
            });
        }
        for entry in merged {
            if entries.iter().all(|own| own.key != entry.key) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

fn key(event: Event<'_>, position: Position) -> Result<String, YamlError> {
    match event {
        Event::Scalar(text, ..) => Ok(text.into_owned()),
        _ => Err(YamlError::Key { position }),
    }
}

/// The entries that `<<` brings in; of several maps the earlier one wins.
fn merge_sources(node: Node, position: Position) -> Result<Vec<Entry>, YamlError> {
    match node.value {
        Value::Map(entries) => Ok(entries),
        Value::List(items) => {
            let mut entries = Vec::new();
            for item in items {
                match item.value {
                    Value::Map(more) => entries.extend(more),
                    _ => return Err(YamlError::Merge { position }),
                }
            }
            Ok(entries)
        }
        _ => Err(YamlError::Merge { position }),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    position: Position,
) -> Result<Value, YamlError> {
    let quoted = Value::Text(text.to_owned());
    match tag {
        None if style == ScalarStyle::Plain => Ok(plain_scalar(text)),
        None => Ok(quoted),
        Some(tag) if tag.handle() == "!" && tag.suffix().is_empty() => Ok(quoted),
        Some(tag) if tag.suffix() == "str" => Ok(quoted),
        Some(tag) if ["int", "float", "bool", "null"].contains(&tag.suffix()) => {
            Ok(plain_scalar(text))
        }
        Some(tag) => {
            let tag = format!("!{}", tag.suffix());
            Err(YamlError::Tag { position, tag })
        }
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.node)).sum(),
        _ => 0,
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

fn syntax(error: &ScanError) -> YamlError {
    YamlError::Syntax {
        position: position(error.marker()),
        problem: error.info(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn one(text: &str) -> Node {
        let mut documents = parse_documents(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    #[test]
    fn comments_are_left_out_wherever_they_stand() {
        let text = "# a\nkey: # b\n  # c\n  - 1 # d\n  # e\n  - 2\n# f\n";
        let plain = "\nkey:\n\n  - 1\n\n  - 2\n\n";
        assert_eq!(one(text), one(plain));
    }

    fn at(line: usize, column: usize) -> Origin {
        Origin::File(Position { line, column })
    }

    #[test]
    fn every_node_knows_its_place() {
        let document = one("a: 1\nb:\n  - x\n  - {c: true}\n");
        assert_eq!(
            document.get("a").unwrap(),
            &Node::new(Value::Integer(1), at(1, 4))
        );
        let Value::List(items) = &document.get("b").unwrap().value else {
            panic!("no list")
        };
        assert_eq!(items[0], Node::new(Value::Text("x".into()), at(3, 5)));
        assert_eq!(
            items[1].get("c").unwrap(),
            &Node::new(Value::Bool(true), at(4, 9))
        );
    }

    #[test]
    fn several_documents_are_read_and_empty_ones_left_out() {
        let documents = parse_documents("---\na: 1\n---\n# nothing\n---\nb: 2\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(parse_documents("").unwrap(), []);
        assert_eq!(parse_documents("# only a comment\n").unwrap(), []);
    }

    #[test]
    fn quotes_keep_text_text() {
        let document = one("a: \"4\"\nb: '4'\nc: !!str 4\nd: |\n  yes\n");
        assert_eq!(document.get_text("a"), Some("4"));
        assert_eq!(document.get_text("b"), Some("4"));
        assert_eq!(document.get_text("c"), Some("4"));
        assert_eq!(document.get_text("d"), Some("yes\n"));
    }

    #[test]
    fn aliases_and_merges_stand_for_what_they_name() {
        let document = one("base: &b {x: 1, y: 2}\nsame: *b\nmore: {<<: *b, y: 3}\n");
        assert_eq!(
            document.get("same").unwrap().get("x").unwrap().value,
            Value::Integer(1)
        );
        let more = document.get("more").unwrap();
        assert_eq!(more.get("x").unwrap().value, Value::Integer(1));
        assert_eq!(more.get("y").unwrap().value, Value::Integer(3));
    }

    #[test]
    fn a_key_given_twice_is_refused_with_both_places() {
        let error = parse_documents("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "3:1: the key \"a\" was given before, at 1:1; remove one of them"
        );
    }

    #[rstest]
    #[case("a: [1, 2\n")]
    #[case("a: 1\n b: 2\n")]
    #[case("a:\n\tb: 1\n")]
    #[case("a: \"x\n")]
    #[case("a: *nowhere\n")]
    #[case("a: &a [*a]\n")]
    #[case("? {x: 1}\n: 2\n")]
    #[case("a: {<<: 1}\n")]
    #[case("a: !secret x\n")]
    fn a_mistake_names_its_place(#[case] text: &str) {
        let message = parse_documents(text).unwrap_err().to_string();
        let line = message.split(':').next().unwrap();
        assert!(line.parse::<usize>().is_ok(), "{message}");
    }

    #[test]
    fn aliases_of_aliases_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let alias = format!("*a{}, ", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", alias.repeat(10));
        }
        assert!(matches!(
            parse_documents(&text),
            Err(YamlError::TooManyNodes)
        ));
    }

    #[test]
    fn deep_nesting_is_refused_rather_than_overflowing() {
        assert!(parse_documents(&"[".repeat(100_000)).is_err());
        let block: String = (0..2000)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect();
        assert!(parse_documents(&block).is_err());
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let text = " ".repeat(LENGTH_LIMIT + 1);
        assert!(matches!(parse_documents(&text), Err(YamlError::TooLong)));
    }
}
