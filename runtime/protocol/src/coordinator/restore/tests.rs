use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::{
    ChainId, ChainPlan, CheckpointId, CheckpointKind, FileKind, KeyGroup, StateColumn, StateFile,
    SubtaskState, subtask_of,
};

const NO_GROUPS: KeyGroupRange = KeyGroupRange { start: 0, end: 0 };

fn operator_id(id: &str) -> OperatorId {
    OperatorId::new(id).unwrap()
}

fn parallelism(count: u32) -> Parallelism {
    Parallelism::new(count).unwrap()
}

fn column(name: &str, kind: &str, data_type: &str) -> StateColumn {
    StateColumn {
        name: name.to_owned(),
        kind: kind.to_owned(),
        data_type: data_type.to_owned(),
    }
}

fn schema(columns: Vec<StateColumn>) -> StateSchema {
    StateSchema {
        key: "Utf8".to_owned(),
        columns,
    }
}

fn plan(max: u32) -> JobPlan {
    let operator = |id: &str, kind, state| OperatorPlan {
        id: operator_id(id),
        name: id.to_owned(),
        kind,
        state,
    };
    let columns = vec![
        column("count", "value", "UInt64"),
        column("seen", "list", "Int64"),
    ];
    let counts = operator("count", OperatorKind::Keyed, Some(schema(columns)));
    JobPlan {
        chains: vec![
            ChainPlan {
                id: ChainId(0),
                operators: vec![
                    operator("lines", OperatorKind::Source, None),
                    operator("split", OperatorKind::Stateless, None),
                ],
                outputs: vec![ChainId(1)],
            },
            ChainPlan {
                id: ChainId(1),
                operators: vec![counts, operator("result", OperatorKind::Sink, None)],
                outputs: Vec::new(),
            },
        ],
        max_parallelism: MaxParallelism::new(max).unwrap(),
    }
}

/// The plan's keyed state.
fn state_of(plan: &mut JobPlan) -> &mut OperatorPlan {
    &mut plan.chains[1].operators[0]
}

fn subtask(index: u32, key_groups: KeyGroupRange) -> SubtaskState {
    SubtaskState {
        subtask: SubtaskIndex(index),
        key_groups,
        files: Vec::new(),
        items: Vec::new(),
        watermark_ms: None,
    }
}

fn manifest(plan: &JobPlan, count: u32) -> Manifest {
    let state = |operator: &OperatorPlan| OperatorState {
        operator: operator.id.clone(),
        name: operator.name.clone(),
        schema: operator.state.clone(),
        subtasks: (0..count)
            .map(|index| {
                let is_keyed = operator.state.is_some();
                let max = plan.max_parallelism;
                let owned = KeyGroupRange::of_subtask(max, parallelism(count), SubtaskIndex(index));
                let mut state = subtask(index, if is_keyed { owned } else { NO_GROUPS });
                if is_keyed {
                    state.files.push(file(&format!("base-{index}"), owned));
                } else {
                    state.items.push(format!("{}-{index}", operator.id).into());
                }
                state
            })
            .collect(),
    };
    let stateful = plan
        .operators()
        .filter(|operator| operator.kind != OperatorKind::Stateless);
    Manifest {
        checkpoint: CheckpointId::FIRST,
        name: None,
        kind: CheckpointKind::Checkpoint,
        attempt: Attempt::of_fence(crate::LogNumber::FIRST),
        triggered_ms: 0,
        completed_ms: 0,
        parallelism: parallelism(count),
        max_parallelism: plan.max_parallelism,
        plan_fingerprint: plan.fingerprint(),
        is_final: false,
        operators: stateful.map(state).collect(),
    }
}

fn file(path: &str, key_groups: KeyGroupRange) -> StateFile {
    StateFile {
        path: path.to_owned(),
        kind: FileKind::Increment,
        size_bytes: 1,
        checksum: "0".repeat(16),
        key_groups,
        row_count: 1,
    }
}

fn deployment(plan: &JobPlan, manifest: Option<&Manifest>, count: u32) -> Deployment {
    let placement = vec![WorkerId::FIRST; count as usize];
    plan_restore(
        plan,
        manifest,
        Attempt::of_fence(crate::LogNumber::FIRST),
        &placement,
    )
    .unwrap()
}

fn restores<'a>(deployment: &'a Deployment, operator: &str) -> Vec<&'a OperatorRestore> {
    let restores = deployment
        .subtasks
        .iter()
        .flat_map(|subtask| &subtask.operators);
    restores
        .filter(|restore| restore.operator.as_str() == operator)
        .collect()
}

#[test]
fn without_a_manifest_every_subtask_begins_empty_with_its_key_groups() {
    let deployment = deployment(&plan(8), None, 2);
    assert_eq!(deployment.subtasks.len(), 4);
    assert!(
        deployment
            .subtasks
            .is_sorted_by_key(|subtask| subtask.subtask)
    );
    let operators: Vec<_> = deployment.subtasks[3].operators.iter().collect();
    assert_eq!(operators.len(), 2);
    assert_eq!(operators[0].key_groups, KeyGroupRange { start: 4, end: 8 });
    assert_eq!(operators[1].key_groups, NO_GROUPS);
    // The stateless operator of the first chain has nothing to restore.
    assert_eq!(deployment.subtasks[0].operators.len(), 1);
    assert_eq!(deployment.restored, None);
}

#[test]
fn every_source_subtask_gets_every_split_and_each_transaction_goes_to_one_sink() {
    let plan = plan(8);
    let manifest = manifest(&plan, 5);
    let deployment = deployment(&plan, Some(&manifest), 2);
    let all: Vec<Value> = (0..5)
        .map(|index| format!("lines-{index}").into())
        .collect();
    for restore in restores(&deployment, "lines") {
        assert_eq!(restore.items, all);
    }
    let sinks = restores(&deployment, "result");
    assert_eq!(sinks[0].items, ["result-0", "result-2", "result-4"]);
    assert_eq!(sinks[1].items, ["result-1", "result-3"]);
}

#[test]
fn the_watermark_is_the_least_and_unknown_if_one_is() {
    let plan = plan(8);
    let mut manifest = manifest(&plan, 3);
    let watermarks = [Some(30), Some(10), Some(20)];
    for (subtask, watermark_ms) in manifest.operators[1].subtasks.iter_mut().zip(watermarks) {
        subtask.watermark_ms = watermark_ms;
    }
    let restored = deployment(&plan, Some(&manifest), 2);
    assert!(
        restores(&restored, "count")
            .iter()
            .all(|it| it.watermark_ms == Some(10))
    );
    manifest.operators[1].subtasks[2].watermark_ms = None;
    let restored = deployment(&plan, Some(&manifest), 2);
    assert!(
        restores(&restored, "count")
            .iter()
            .all(|it| it.watermark_ms.is_none())
    );
}

#[test]
fn a_file_shared_after_a_rescale_is_read_by_each_for_its_own_key_groups_only() {
    let plan = plan(8);
    let mut manifest = manifest(&plan, 2);
    let whole = KeyGroupRange { start: 0, end: 8 };
    for subtask in &mut manifest.operators[1].subtasks {
        subtask.files.insert(0, file("shared", whole));
    }
    let restored = deployment(&plan, Some(&manifest), 1);
    let files = restores(&restored, "count")[0].files.iter();
    let found: Vec<_> = files
        .map(|it| (it.path.as_str(), it.key_groups.start, it.key_groups.end))
        .collect();
    let expected = [
        ("shared", 0, 4),
        ("base-0", 0, 4),
        ("shared", 4, 8),
        ("base-1", 4, 8),
    ];
    assert_eq!(found, expected);
}

#[test]
fn more_subtasks_than_key_groups_are_refused() {
    let error = check_restore(&plan(8), None, parallelism(9)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("parallelism 9 is greater than max parallelism 8")
    );
}

#[test]
fn another_max_parallelism_is_refused() {
    let manifest = manifest(&plan(8), 2);
    let error = check_restore(&plan(16), Some(&manifest), parallelism(2)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has max parallelism 8, the job 16"),
        "{error}"
    );
}

#[rstest]
#[case::operator_gone(|plan: &mut JobPlan| {
    state_of(plan).id = operator_id("tally");
}, "no such operator")]
#[case::operator_stateless(|plan: &mut JobPlan| {
    state_of(plan).kind = OperatorKind::Stateless;
    state_of(plan).state = None;
}, "no such operator")]
#[case::state_gone(|plan: &mut JobPlan| state_of(plan).state = None, "keeps no keyed state")]
#[case::key(|plan: &mut JobPlan| {
    state_of(plan).state.as_mut().unwrap().key = "Int64".to_owned();
}, "its key was Utf8 and is Int64")]
#[case::column_gone(|plan: &mut JobPlan| {
    state_of(plan).state.as_mut().unwrap().columns.remove(0);
}, "its state `count` is gone")]
#[case::column_kind(|plan: &mut JobPlan| {
    state_of(plan).state.as_mut().unwrap().columns[0].kind = "list".to_owned();
}, "its state `count` was value of UInt64 and is list of UInt64")]
#[case::column_type(|plan: &mut JobPlan| {
    state_of(plan).state.as_mut().unwrap().columns[1].data_type = "Utf8".to_owned();
}, "its state `seen` was list of Int64 and is list of Utf8")]
fn a_plan_that_would_lose_state_is_refused_by_the_operators_name(
    #[case] change: fn(&mut JobPlan),
    #[case] message: &str,
) {
    let mut plan = plan(8);
    let manifest = manifest(&plan, 2);
    change(&mut plan);
    let error = check_restore(&plan, Some(&manifest), parallelism(2))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("operator `count`") && error.contains(message),
        "{error}"
    );
}

#[test]
fn every_mismatch_is_named_at_once() {
    let mut plan = plan(8);
    let manifest = manifest(&plan, 2);
    plan.chains[0].operators[0].id = operator_id("rows");
    state_of(&mut plan).state.as_mut().unwrap().columns.clear();
    let error = check_restore(&plan, Some(&manifest), parallelism(2))
        .unwrap_err()
        .to_string();
    for part in [
        "`lines`",
        "`count`",
        "state `count` is gone",
        "state `seen` is gone",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn new_operators_new_states_and_empty_leftovers_are_welcome() {
    let mut plan = plan(8);
    let mut manifest = manifest(&plan, 2);
    let columns = &mut state_of(&mut plan).state.as_mut().unwrap().columns;
    columns.insert(0, column("latest", "value", "Int64"));
    columns.swap(1, 2);
    let mut extra = plan.chains[1].operators[1].clone();
    extra.id = operator_id("audit");
    plan.chains[1].operators.push(extra);
    let mut leftover = manifest.operators[2].clone();
    leftover.operator = operator_id("formerly");
    leftover
        .subtasks
        .iter_mut()
        .for_each(|subtask| subtask.items.clear());
    manifest.operators.push(leftover);
    assert_eq!(
        check_restore(&plan, Some(&manifest), parallelism(2)),
        Ok(())
    );
    let restored = deployment(&plan, Some(&manifest), 2);
    assert!(
        restores(&restored, "audit")
            .iter()
            .all(|restore| restore.items.is_empty())
    );
}

/// Each group's chain of files, as a reader of the subtask that owns the group would apply it.
fn chains(deployment: &Deployment, max: MaxParallelism) -> BTreeMap<u16, Vec<String>> {
    let mut chains: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (index, restore) in (0..).map(SubtaskIndex).zip(restores(deployment, "count")) {
        for file in &restore.files {
            for group in file.key_groups.start..file.key_groups.end {
                assert_eq!(
                    subtask_of(KeyGroup(group), max, deployment.parallelism),
                    index
                );
                chains.entry(group).or_default().push(file.path.clone());
            }
        }
    }
    chains
}

proptest! {
    #[test]
    fn any_sequence_of_rescales_keeps_every_groups_chain_in_order(
        max in 16..200_u32,
        counts in proptest::collection::vec(1..=16_u32, 1..8),
    ) {
        let plan = plan(max);
        let mut expected: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        let mut latest: Option<Manifest> = None;
        for (step, count) in counts.iter().enumerate() {
            let restored = deployment(&plan, latest.as_ref(), *count);
            prop_assert_eq!(&chains(&restored, plan.max_parallelism), &expected);
            // Each subtask adds an increment to what it restored.
            let mut next = manifest(&plan, *count);
            for (index, restore) in restores(&restored, "count").into_iter().enumerate() {
                let path = format!("{step}-{index}");
                for group in restore.key_groups.start..restore.key_groups.end {
                    expected.entry(group).or_default().push(path.clone());
                }
                let mut files = restore.files.clone();
                files.push(file(&path, restore.key_groups));
                next.operators[1].subtasks[index].files = files;
            }
            latest = Some(next);
        }
        let restored = deployment(&plan, latest.as_ref(), 16);
        prop_assert_eq!(&chains(&restored, plan.max_parallelism), &expected);
        prop_assert_eq!(expected.len(), max as usize);
    }
}
