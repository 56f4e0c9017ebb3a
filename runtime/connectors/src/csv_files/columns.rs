//! From the cells of rows to typed columns, by the names in the header.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, ArrowPrimitiveType};
use arrow_schema::{DataType, Field};
use tidegate_engine::{PermanentError, Result};

use super::cursor::Row;

/// Where a record's columns stand in the rows of one file.
///
/// # Errors
/// A column that the header does not have, or has twice.
pub(super) fn places(fields: &[Field], header: &Row<'_>, path: &str) -> Result<Vec<usize>> {
    let place = |field: &Field| {
        let name = field.name();
        // Some programs begin a file with a byte order mark.
        let is_name =
            |cell: &&[u8]| cell.strip_prefix(b"\xef\xbb\xbf").unwrap_or(cell) == name.as_bytes();
        let mut found = header.cells().enumerate().filter(|(_, cell)| is_name(cell));
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Ok(place),
            (first, _) => {
                let problem = if first.is_none() {
                    "no"
                } else {
                    "more than one"
                };
                let names: Vec<_> = header.cells().map(String::from_utf8_lossy).collect();
                let names = names.join("`, `");
                Err(PermanentError::new(format!(
                    "`{path}` has {problem} column `{name}`: its header names `{names}`; rename \
                     the record's field or the column"
                )))
            }
        }
    };
    Ok(fields.iter().map(place).collect::<Result<_, _>>()?)
}

/// What is wrong with a row: the column's name and the problem.
pub(super) type CellProblem = (String, String);

/// Collects one column.
pub(super) struct ColumnBuilder {
    name: String,
    is_nullable: bool,
    values: Values,
}

enum Values {
    Bool(BooleanBuilder),
    I8(PrimitiveBuilder<Int8Type>),
    I16(PrimitiveBuilder<Int16Type>),
    I32(PrimitiveBuilder<Int32Type>),
    I64(PrimitiveBuilder<Int64Type>),
    U8(PrimitiveBuilder<UInt8Type>),
    U16(PrimitiveBuilder<UInt16Type>),
    U32(PrimitiveBuilder<UInt32Type>),
    U64(PrimitiveBuilder<UInt64Type>),
    F32(PrimitiveBuilder<Float32Type>),
    F64(PrimitiveBuilder<Float64Type>),
    Text(StringBuilder),
}

impl ColumnBuilder {
    /// # Errors
    /// A type that no cell can be read as.
    pub(super) fn new(field: &Field) -> Result<Self> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Bool(BooleanBuilder::new()),
            DataType::Int8 => Values::I8(PrimitiveBuilder::new()),
            DataType::Int16 => Values::I16(PrimitiveBuilder::new()),
            DataType::Int32 => Values::I32(PrimitiveBuilder::new()),
            DataType::Int64 => Values::I64(PrimitiveBuilder::new()),
            DataType::UInt8 => Values::U8(PrimitiveBuilder::new()),
            DataType::UInt16 => Values::U16(PrimitiveBuilder::new()),
            DataType::UInt32 => Values::U32(PrimitiveBuilder::new()),
            DataType::UInt64 => Values::U64(PrimitiveBuilder::new()),
            DataType::Float32 => Values::F32(PrimitiveBuilder::new()),
            DataType::Float64 => Values::F64(PrimitiveBuilder::new()),
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            other => {
                let name = field.name();
                return Err(PermanentError::new(format!(
                    "field `{name}` of type {other} cannot be read from CSV; read it as a String \
                     and convert it in a map"
                ))
                .into());
            }
        };
        Ok(Self {
            name: field.name().clone(),
            is_nullable: field.is_nullable(),
            values,
        })
    }

    /// Says whether a cell can be read.
    pub(super) fn check(&self, cell: &[u8]) -> Result<(), CellProblem> {
        let is_null = self.is_nullable && cell.is_empty();
        if is_null || self.values.is_readable(cell) {
            return Ok(());
        }
        let cell = String::from_utf8_lossy(cell);
        let what = self.values.what();
        Err((self.name.clone(), format!("{cell:?} is no {what}")))
    }

    /// Appends a cell that was checked.
    pub(super) fn push(&mut self, cell: &[u8]) {
        self.values.push(cell, self.is_nullable && cell.is_empty());
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        self.values.finish()
    }
}

fn parse<T: std::str::FromStr>(cell: &[u8]) -> Option<T> {
    std::str::from_utf8(cell).ok()?.trim().parse().ok()
}

fn append<T>(builder: &mut PrimitiveBuilder<T>, cell: &[u8])
where
    T: ArrowPrimitiveType,
    T::Native: std::str::FromStr,
{
    builder.append_option(parse(cell));
}

macro_rules! each_number {
    ($self:expr, $builder:ident => $number:expr, $bool:ident => $boolean:expr,
     $string:ident => $text:expr) => {
        match $self {
            Values::I8($builder) => $number,
            Values::I16($builder) => $number,
            Values::I32($builder) => $number,
            Values::I64($builder) => $number,
            Values::U8($builder) => $number,
            Values::U16($builder) => $number,
            Values::U32($builder) => $number,
            Values::U64($builder) => $number,
            Values::F32($builder) => $number,
            Values::F64($builder) => $number,
            Values::Bool($bool) => $boolean,
            Values::Text($string) => $text,
        }
    };
}

impl Values {
    fn is_readable(&self, cell: &[u8]) -> bool {
        match self {
            Self::Bool(_) => parse::<bool>(cell).is_some(),
            Self::I8(_) => parse::<i8>(cell).is_some(),
            Self::I16(_) => parse::<i16>(cell).is_some(),
            Self::I32(_) => parse::<i32>(cell).is_some(),
            Self::I64(_) => parse::<i64>(cell).is_some(),
            Self::U8(_) => parse::<u8>(cell).is_some(),
            Self::U16(_) => parse::<u16>(cell).is_some(),
            Self::U32(_) => parse::<u32>(cell).is_some(),
            Self::U64(_) => parse::<u64>(cell).is_some(),
            Self::F32(_) => parse::<f32>(cell).is_some(),
            Self::F64(_) => parse::<f64>(cell).is_some(),
            Self::Text(_) => std::str::from_utf8(cell).is_ok(),
        }
    }

    /// What a cell must be, for messages.
    fn what(&self) -> &'static str {
        match self {
            Self::Bool(_) => "`true` or `false`",
            Self::I8(_) => "integer of 8 bits",
            Self::I16(_) => "integer of 16 bits",
            Self::I32(_) => "integer of 32 bits",
            Self::I64(_) => "integer of 64 bits",
            Self::U8(_) => "unsigned integer of 8 bits",
            Self::U16(_) => "unsigned integer of 16 bits",
            Self::U32(_) => "unsigned integer of 32 bits",
            Self::U64(_) => "unsigned integer of 64 bits",
            Self::F32(_) | Self::F64(_) => "number",
            Self::Text(_) => "UTF-8 text",
        }
    }

    fn push(&mut self, cell: &[u8], is_null: bool) {
        each_number!(
            self,
            builder => append(builder, cell),
            flags => flags.append_option(parse(cell)),
            texts => texts.append_option((!is_null).then(|| String::from_utf8_lossy(cell)))
        );
    }

    fn finish(&mut self) -> ArrayRef {
        each_number!(
            self,
            builder => Arc::new(builder.finish()),
            flags => Arc::new(flags.finish()),
            texts => Arc::new(texts.finish())
        )
    }
}
