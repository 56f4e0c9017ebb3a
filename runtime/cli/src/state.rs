//! `tidegate state dump`: the rows of an operator's state, as a restore would see them.
//!
//! Rows are read by ranges of key groups, small enough that a state of any size is printed in
//! bounded memory.

mod rows;
mod value;

use serde_json::{Map, Value, json};
use tidegate_protocol::{KeyGroupRange, LogNumber, Manifest, OperatorState};
use tidegate_storage::{JobFolder, StorageError};

use crate::args::{DumpArgs, StateCommand, Wanted};
use crate::failure::{Failure, print};
use crate::folder;
use crate::table::{Align, Table};
use rows::{Row, read_rows};

/// About how many rows of files are held at a time.
const ROWS_AT_A_TIME: u64 = 500_000;

/// Runs the command and gives its exit code.
///
/// # Errors
/// The location, checkpoint or operator is wrong or cannot be read.
pub(crate) async fn run(command: StateCommand) -> Result<u8, Failure> {
    match command {
        StateCommand::Dump(args) => dump(&args).await,
    }
}

async fn dump(args: &DumpArgs) -> Result<u8, Failure> {
    let opened = folder::open(&args.folder).await?;
    let (number, manifest) = opened.checkpoint(args.checkpoint.map(Wanted::Checkpoint))?;
    let operator = choose(manifest, args.operator.as_deref())?;
    let mut rows: Vec<Row> = Vec::new();
    let mut is_cut = false;
    for range in ranges(manifest, operator) {
        let found = match read_rows(&opened.folder, operator, range).await {
            Ok(found) => found,
            Err(error) => return Err(explain(&error, &opened.folder, number, manifest).await),
        };
        let is_wanted = |row: &Row| {
            args.key
                .as_ref()
                .is_none_or(|key| *key == value::plain(&row.key))
        };
        rows.extend(found.into_iter().filter(is_wanted));
        is_cut = rows.len() > args.limit;
        if is_cut {
            rows.truncate(args.limit);
            break;
        }
    }
    if let (Some(key), true) = (&args.key, rows.is_empty()) {
        return Err(Failure::failed(format!(
            "{} keeps nothing for the key {key} in checkpoint {}",
            operator.operator, manifest.checkpoint
        )));
    }
    print(&match args.folder.json {
        true => render_json(manifest, operator, &rows, is_cut),
        false => render_text(operator, &rows, is_cut.then_some(args.limit)),
    })?;
    Ok(0)
}

/// Why rows cannot be read: their files are damaged, or had to go.
async fn explain(
    error: &StorageError,
    folder: &JobFolder,
    number: LogNumber,
    manifest: &Manifest,
) -> Failure {
    match folder::retained(folder).await {
        Ok(Some(kept)) if !kept.contains(&number) => Failure::failed(format!(
            "checkpoint {} was released by its job while it was read; read a newer one, or take \
             a savepoint and read that",
            manifest.checkpoint
        )),
        _ => folder::unreadable(error),
    }
}

/// The operator of an id or name, or the only one that keeps state by key.
fn choose<'a>(manifest: &'a Manifest, wanted: Option<&str>) -> Result<&'a OperatorState, Failure> {
    let keyed: Vec<&OperatorState> = manifest
        .operators
        .iter()
        .filter(|operator| operator.schema.is_some())
        .collect();
    let names = || {
        keyed
            .iter()
            .map(|it| it.operator.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let Some(wanted) = wanted else {
        return match keyed.as_slice() {
            [only] => Ok(only),
            [] => {
                let id = manifest.checkpoint;
                Err(Failure::failed(format!(
                    "no operator of checkpoint {id} keeps state by key"
                )))
            }
            _ => Err(Failure::invalid(format!(
                "several operators keep state by key, {}; choose one with --operator",
                names()
            ))),
        };
    };
    let by_id = keyed
        .iter()
        .find(|operator| operator.operator.as_str() == wanted);
    let by_name = || keyed.iter().find(|operator| operator.name == wanted);
    by_id.or_else(by_name).copied().ok_or_else(|| {
        let id = manifest.checkpoint;
        let is_there = manifest
            .operators
            .iter()
            .any(|it| it.operator.as_str() == wanted);
        let what = if is_there {
            "keeps no state by key"
        } else {
            "is not in it"
        };
        let names = names();
        let there = if names.is_empty() {
            "none does".to_owned()
        } else {
            format!("these do: {names}")
        };
        Failure::failed(format!(
            "checkpoint {id}: the operator {wanted} {what}; {there}"
        ))
    })
}

/// All key groups, in ranges whose rows fit.
fn ranges(manifest: &Manifest, operator: &OperatorState) -> Vec<KeyGroupRange> {
    let groups = manifest.max_parallelism.get();
    let files = operator.subtasks.iter().flat_map(|subtask| &subtask.files);
    let rows: u64 = files.map(|file| file.row_count).sum();
    let range_count = (rows / ROWS_AT_A_TIME + 1).min(groups.into());
    // Both bounds are at most the number of key groups, which fits.
    let bound = |index: u64| u16::try_from(index * u64::from(groups) / range_count);
    (0..range_count)
        .filter_map(|index| {
            let (start, end) = (bound(index).ok()?, bound(index + 1).ok()?);
            Some(KeyGroupRange { start, end })
        })
        .collect()
}

fn render_json(
    manifest: &Manifest,
    operator: &OperatorState,
    rows: &[Row],
    is_cut: bool,
) -> String {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let state: Map<String, Value> = row.state.iter().cloned().collect();
            json!({"key": row.key, "keyGroup": row.key_group, "state": state})
        })
        .collect();
    let document = json!({
        "checkpoint": manifest.checkpoint,
        "operator": operator.operator,
        "schema": operator.schema,
        "rows": rows,
        "isCut": is_cut,
    });
    format!("{document:#}\n")
}

fn render_text(operator: &OperatorState, rows: &[Row], limit: Option<usize>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| &row.state) {
        // What the engine keeps for itself, such as timers, is for programs.
        if !name.starts_with('_') && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let state = |row: &'_ Row, name: &str| -> Option<Value> {
        let found = row.state.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.clone())
    };
    let align = |name: &str| {
        let is_number = |row: &Row| state(row, name).is_some_and(|value| value.is_number());
        if rows.iter().any(is_number) {
            Align::Right
        } else {
            Align::Left
        }
    };
    let mut columns = vec![("KEY", Align::Left), ("KEY GROUP", Align::Right)];
    columns.extend(names.iter().map(|name| (*name, align(name))));
    let mut table = Table::new(columns);
    for row in rows {
        let mut cells = vec![value::plain(&row.key), row.key_group.to_string()];
        let states = names.iter().map(|name| state(row, name));
        cells.extend(states.map(|value| value.as_ref().map_or_else(String::new, value::plain)));
        table.push(cells);
    }
    let end = match (limit, rows) {
        (Some(limit), _) => format!("only the first {limit} rows; print more with --limit\n"),
        (None, []) => format!("{} keeps no rows\n", operator.operator),
        (None, _) => String::new(),
    };
    format!("{}{end}", table.render())
}

#[cfg(test)]
mod tests;
