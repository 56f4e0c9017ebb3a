//! Typed values from a tree: a serde deserializer that knows places, paths and unknown fields.
//!
//! The first field of a wrong type ends it; unknown fields are collected beside, for a misspelt one
//! is often the cause of a missing one.

mod error;

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use crate::path::FieldPath;
use crate::problem::{Problem, nearest};
use crate::yaml::{Entry, Node, Value};
use error::FieldError;

/// Reads a value of some type from a node at a path. Every unknown field is left as a problem, and
/// so is the first one that is missing or of a wrong type; after the latter there is no value.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(
    node: &Node,
    path: &FieldPath,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let unknown = RefCell::new(Vec::new());
    let fields = Fields {
        node,
        path: path.clone(),
        unknown: &unknown,
    };
    let result = T::deserialize(fields);
    problems.extend(unknown.into_inner());
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(error.into_problem(node, path));
            None
        }
    }
}

struct Fields<'a> {
    node: &'a Node,
    path: FieldPath,
    unknown: &'a RefCell<Vec<Problem>>,
}

impl<'a> Fields<'a> {
    fn member(&self, entry: &'a Entry) -> Self {
        Self {
            node: &entry.node,
            path: self.path.key(&entry.key),
            unknown: self.unknown,
        }
    }

    /// Leaves a problem for each member that a type does not have.
    fn note_unknown(&self, entries: &[Entry], known: &'static [&'static str]) {
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            let text = match nearest(&entry.key, known) {
                Some(near) => format!("there is no such field; did you mean {near}?"),
                None => format!("there is no such field; there are {}", known.join(", ")),
            };
            let path = self.path.key(&entry.key);
            self.unknown
                .borrow_mut()
                .push(Problem::at(entry.key_origin, &path, text));
        }
    }
}

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        let (origin, path) = (self.node.origin, self.path.clone());
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items {
                items,
                next: 0,
                fields: &self,
            }),
            Value::Map(entries) => {
                let rest = entries.iter().collect();
                visitor.visit_map(Members {
                    rest,
                    current: None,
                    fields: &self,
                })
            }
        };
        result.map_err(|error| error.located(origin, &path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        let Value::Map(entries) = &self.node.value else {
            return self.deserialize_any(visitor);
        };
        self.note_unknown(entries, known);
        let (origin, path) = (self.node.origin, self.path.clone());
        // As the API server has it, a field without a value is an absent field.
        let is_given =
            |entry: &&Entry| entry.node.value != Value::Null && known.contains(&entry.key.as_str());
        let rest = entries.iter().filter(is_given).collect();
        visitor
            .visit_map(Members {
                rest,
                current: None,
                fields: &self,
            })
            .map_err(|error| error.located(origin, &path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        let (origin, path) = (self.node.origin, self.path.clone());
        let Value::Text(text) = &self.node.value else {
            let found = self.node.value.describe();
            let text = format!("expected {}, found {found}", variants.join(" or "));
            return Err(FieldError::new(text).located(origin, &path));
        };
        let variant: StrDeserializer<'_, FieldError> = text.as_str().into_deserializer();
        visitor
            .visit_enum(variant)
            .map_err(|error| error.located(origin, &path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a, 'f> {
    items: &'a [Node],
    next: usize,
    fields: &'f Fields<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = FieldError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FieldError> {
        let Some(node) = self.items.get(self.next) else {
            return Ok(None);
        };
        let path = self.fields.path.index(self.next);
        self.next += 1;
        seed.deserialize(Fields {
            node,
            path,
            unknown: self.fields.unknown,
        })
        .map(Some)
    }
}

struct Members<'a, 'f> {
    rest: std::collections::VecDeque<&'a Entry>,
    current: Option<&'a Entry>,
    fields: &'f Fields<'a>,
}

impl<'de> MapAccess<'de> for Members<'_, '_> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, FieldError> {
        self.current = self.rest.pop_front();
        let Some(entry) = self.current else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, FieldError> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, FieldError> {
        match self.current.take() {
            Some(entry) => seed.deserialize(self.fields.member(entry)),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

#[cfg(test)]
mod tests;
