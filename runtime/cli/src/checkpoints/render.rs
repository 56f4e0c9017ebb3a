//! Checkpoints as tables and JSON. Pure.

use serde_json::{Value, json};
use tidegate_protocol::{Base, CheckpointKind, LogNumber, Manifest, OperatorState};
use tidegate_storage::Latest;

use crate::args::Wanted;
use crate::folder::give_up;
use crate::table::{Align, Table, count, size, time};

/// Where a checkpoint is, as `startFrom` takes it.
fn start_from(url: &str, manifest: &Manifest) -> String {
    format!("{url}#{}", manifest.checkpoint)
}

pub(super) fn kind(manifest: &Manifest) -> &'static str {
    match manifest.kind {
        CheckpointKind::Checkpoint => "Checkpoint",
        CheckpointKind::Savepoint => "Savepoint",
    }
}

/// The kind, and the name that a savepoint was asked for with.
fn kind_and_name(manifest: &Manifest) -> String {
    match &manifest.name {
        Some(name) => format!("{} {name}", kind(manifest)),
        None => kind(manifest).to_owned(),
    }
}

fn duration_ms(manifest: &Manifest) -> i64 {
    manifest.completed_ms - manifest.triggered_ms
}

/// The checkpoint that the next run goes on from, in words and as a number.
fn next_start(latest: &Latest) -> (String, Option<u64>) {
    match latest.entry.base() {
        Base::Empty => ("the next run starts without state".to_owned(), None),
        Base::Foreign(manifest) => {
            let id = manifest.checkpoint;
            (
                format!("the next run starts from checkpoint {id} of another job"),
                None,
            )
        }
        Base::Checkpoint(number) => {
            let found = latest.checkpoints.iter().find(|(of, _)| *of == number);
            match found {
                Some((_, manifest)) => {
                    let id = manifest.checkpoint;
                    (
                        format!("the next run goes on from checkpoint {id}"),
                        Some(id.get()),
                    )
                }
                None => {
                    let name = Wanted::entry_name(number);
                    let text = format!(
                        "the next run is refused: {name}, which it would go on from, cannot be \
                         read; start from another checkpoint with startFrom, or {}",
                        give_up(&name)
                    );
                    (text, None)
                }
            }
        }
    }
}

/// Columns of the list.
const COLUMN_COUNT: usize = 8;

pub(super) fn list_text(url: &str, latest: &Latest) -> String {
    let columns: [_; COLUMN_COUNT] = [
        ("CHECKPOINT", Align::Right),
        ("KIND", Align::Left),
        ("COMPLETED", Align::Left),
        ("DURATION", Align::Right),
        ("SIZE", Align::Right),
        ("FILES", Align::Right),
        ("PARALLELISM", Align::Right),
        ("ATTEMPT", Align::Right),
    ];
    let mut table = Table::new(columns);
    let whole = latest.checkpoints.iter();
    let mut rows: Vec<_> = whole.map(|(number, it)| (*number, row(it))).collect();
    for damaged in &latest.damaged {
        let mut row = vec![Wanted::entry_name(damaged.number), "damaged".to_owned()];
        row.resize(COLUMN_COUNT, "-".to_owned());
        rows.push((damaged.number, row));
    }
    rows.sort();
    let is_empty = rows.is_empty();
    rows.into_iter().for_each(|(_, row)| table.push(row));
    let mut rows = match is_empty {
        true => "no checkpoint is kept\n".to_owned(),
        false => table.render(),
    };
    for damaged in &latest.damaged {
        let name = Wanted::entry_name(damaged.number);
        rows += &format!("\n{name}: {}; or {}\n", damaged.problem, give_up(&name));
    }
    format!("{url}\n\n{rows}\n{}\n", next_start(latest).0)
}

fn row(manifest: &Manifest) -> Vec<String> {
    vec![
        manifest.checkpoint.to_string(),
        kind_and_name(manifest),
        time(manifest.completed_ms),
        format!("{} ms", duration_ms(manifest)),
        size(manifest.size_bytes()),
        manifest.files().count().to_string(),
        manifest.parallelism.to_string(),
        manifest.attempt.to_string(),
    ]
}

pub(super) fn list_json(url: &str, latest: &Latest) -> String {
    let checkpoints: Vec<Value> = latest
        .checkpoints
        .iter()
        .map(|(number, manifest)| summary(url, *number, manifest))
        .collect();
    let damaged: Vec<Value> = latest
        .damaged
        .iter()
        .map(|it| {
            let name = Wanted::entry_name(it.number);
            json!({"name": name, "logNumber": it.number, "problem": it.problem})
        })
        .collect();
    let document = json!({
        "folder": url,
        "nextCheckpoint": next_start(latest).1,
        "checkpoints": checkpoints,
        "damaged": damaged,
    });
    format!("{document:#}\n")
}

fn summary(url: &str, number: LogNumber, manifest: &Manifest) -> Value {
    json!({
        "id": manifest.checkpoint,
        "name": manifest.name,
        "kind": manifest.kind,
        "attempt": manifest.attempt,
        "logNumber": number,
        "triggeredMs": manifest.triggered_ms,
        "completedMs": manifest.completed_ms,
        "durationMs": duration_ms(manifest),
        "sizeBytes": manifest.size_bytes(),
        "fileCount": manifest.files().count(),
        "parallelism": manifest.parallelism,
        "maxParallelism": manifest.max_parallelism,
        "isFinal": manifest.is_final,
        "startFrom": start_from(url, manifest),
    })
}

pub(super) fn show_json(url: &str, number: LogNumber, manifest: &Manifest) -> String {
    let mut document = summary(url, number, manifest);
    document["planFingerprint"] = json!(manifest.plan_fingerprint);
    document["operators"] = json!(manifest.operators);
    format!("{document:#}\n")
}

pub(super) fn show_text(url: &str, manifest: &Manifest) -> String {
    let id = manifest.checkpoint;
    let files = count(manifest.files().count(), "file");
    let facts = [
        ("kind", kind_and_name(manifest)),
        ("completed", time(manifest.completed_ms)),
        ("duration", format!("{} ms", duration_ms(manifest))),
        ("attempt", manifest.attempt.to_string()),
        (
            "parallelism",
            format!("{} of {}", manifest.parallelism, manifest.max_parallelism),
        ),
        (
            "size",
            format!("{} in {files}", size(manifest.size_bytes())),
        ),
        (
            "input",
            if manifest.is_final {
                "read to its end"
            } else {
                "not at its end"
            }
            .to_owned(),
        ),
        ("plan", manifest.plan_fingerprint.clone()),
        ("startFrom", start_from(url, manifest)),
    ];
    let mut text = format!("checkpoint {id} of {url}\n\n");
    for (name, value) in facts {
        text += &format!("{name:<12} {value}\n");
    }
    text += &format!("\n{}", operators(manifest).render());
    for (head, table) in [
        ("files", files_of(manifest)),
        ("positions", items_of(manifest)),
    ] {
        if let Some(table) = table {
            text += &format!("\n{head}\n{}", table.render());
        }
    }
    text
}

fn operators(manifest: &Manifest) -> Table {
    let mut table = Table::new([
        ("OPERATOR", Align::Left),
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("SUBTASKS", Align::Right),
        ("FILES", Align::Right),
        ("ROWS", Align::Right),
        ("SIZE", Align::Right),
    ]);
    for operator in &manifest.operators {
        let files = || operator.subtasks.iter().flat_map(|subtask| &subtask.files);
        table.push(vec![
            operator.operator.to_string(),
            operator.name.clone(),
            state(operator),
            operator.subtasks.len().to_string(),
            files().count().to_string(),
            files().map(|file| file.row_count).sum::<u64>().to_string(),
            size(files().map(|file| file.size_bytes).sum()),
        ]);
    }
    table
}

/// What an operator keeps: `count: value<u64> by String`, or how many positions.
fn state(operator: &OperatorState) -> String {
    match &operator.schema {
        Some(schema) => {
            let columns: Vec<_> = schema
                .columns
                .iter()
                .map(|column| format!("{}: {}<{}>", column.name, column.kind, column.data_type))
                .collect();
            format!("{} by {}", columns.join(", "), schema.key)
        }
        None => {
            let items = operator
                .subtasks
                .iter()
                .map(|subtask| subtask.items.len())
                .sum();
            count(items, "position")
        }
    }
}

fn files_of(manifest: &Manifest) -> Option<Table> {
    let mut table = Table::new([
        ("PATH", Align::Left),
        ("KIND", Align::Left),
        ("KEY GROUPS", Align::Left),
        ("ROWS", Align::Right),
        ("SIZE", Align::Right),
    ]);
    for file in manifest.files() {
        table.push(vec![
            file.path.clone(),
            format!("{:?}", file.kind),
            format!("{}..{}", file.key_groups.start, file.key_groups.end),
            file.row_count.to_string(),
            size(file.size_bytes),
        ]);
    }
    manifest.files().next().map(|_| table)
}

/// Source positions, pending transactions and the like.
fn items_of(manifest: &Manifest) -> Option<Table> {
    let columns = [
        ("OPERATOR", Align::Left),
        ("SUBTASK", Align::Right),
        ("ITEM", Align::Left),
    ];
    let mut table = Table::new(columns);
    let mut is_empty = true;
    for operator in &manifest.operators {
        for subtask in &operator.subtasks {
            for item in &subtask.items {
                is_empty = false;
                table.push(vec![
                    operator.operator.to_string(),
                    subtask.subtask.0.to_string(),
                    item.to_string(),
                ]);
            }
        }
    }
    (!is_empty).then_some(table)
}

#[cfg(test)]
mod tests;
