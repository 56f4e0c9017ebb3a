use proptest::prelude::*;
use rstest::rstest;
use tidegate_api::validate::Logic;

use super::*;

const MINIMAL: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata:
  name: word-count
spec:
  program:
    image: word-count:1.0
";

fn problems(text: &str, job: Option<&str>, sets: &[&str]) -> Vec<String> {
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let problems = read(text, job, &sets).unwrap_err();
    problems
        .iter()
        .map(|problem| problem.render("job.yaml", &sets).to_string())
        .collect()
}

#[test]
fn a_minimal_manifest_is_read() {
    let job = read(MINIMAL, None, &[]).unwrap();
    assert_eq!(
        (job.namespace.as_str(), job.name.as_str()),
        ("default", "word-count")
    );
    assert!(matches!(job.logic, Logic::Program(_)));
}

#[test]
fn what_a_cluster_adds_to_an_object_is_passed_over() {
    let exported = MINIMAL.replace(
        "metadata:\n",
        "metadata:\n  uid: x\n  generation: 3\n  managedFields: [{manager: kubectl}]\n",
    ) + "status: {restarts: 3}\n";
    assert!(read(&exported, None, &[]).is_ok());
}

#[test]
fn the_job_is_found_among_other_documents() {
    let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n---\n{MINIMAL}");
    assert_eq!(read(&text, None, &[]).unwrap().name, "word-count");
}

#[rstest]
#[case("other")]
#[case("team/other")]
fn one_of_several_jobs_is_chosen_by_name(#[case] wanted: &str) {
    let other = MINIMAL.replace("name: word-count", "name: other\n  namespace: team");
    let text = format!("{MINIMAL}---\n{other}");
    assert_eq!(read(&text, Some(wanted), &[]).unwrap().name, "other");
    assert_eq!(
        problems(&text, None, &[]),
        ["job.yaml: it holds several StreamJobs, word-count, team/other; choose one with --job"]
    );
    assert_eq!(
        problems(&text, Some("third"), &[]),
        ["job.yaml: it holds no StreamJob third; it holds word-count, team/other"]
    );
}

#[rstest]
#[case("", "job.yaml: it holds no document; write a StreamJob into it")]
#[case(
    "# nothing\n",
    "job.yaml: it holds no document; write a StreamJob into it"
)]
#[case(
    "a: 1\n",
    "job.yaml:1:1: kind: the document has no kind; begin it with apiVersion: \
     tidegate.dev/v1alpha1 and kind: StreamJob"
)]
#[case(
    "kind: Streamjob\n",
    "job.yaml:1:7: kind: it holds no StreamJob but Streamjob; did you mean StreamJob?"
)]
#[case("kind: Pod\n", "job.yaml:1:7: kind: it holds no StreamJob but Pod")]
#[case("a: [\n", "job.yaml:1:4: unclosed bracket")]
fn a_file_without_a_job_is_refused(#[case] text: &str, #[case] expected: &str) {
    let problems = problems(text, None, &[]);
    assert!(problems[0].starts_with(expected), "{problems:?}");
}

#[rstest]
#[case(
    "tidegate.dev/v1alpha1",
    "tidegate.dev/v9",
    "job.yaml:1:13: apiVersion: this tidegate knows tidegate.dev/v1alpha1 only, not \
     tidegate.dev/v9"
)]
#[case(
    "tidegate.dev/v1alpha1",
    "batch/v1",
    "job.yaml:1:13: apiVersion: a StreamJob has tidegate.dev/v1alpha1, not batch/v1"
)]
#[case(
    "name: word-count",
    "name: Word_Count",
    "job.yaml:4:9: metadata.name: \"Word_Count\" cannot name a job; use at most 52 \
     lower-case letters, digits and hyphens, with a letter first and no hyphen last"
)]
#[case(
    "name: word-count",
    "nam: word-count",
    "job.yaml:4:3: metadata.nam: there is no such field; did you mean name?"
)]
#[case(
    "spec:",
    "specs:",
    "job.yaml:5:1: specs: there is no such field; did you mean spec?"
)]
#[case(
    "spec:",
    "parallelism: 1\nspec:",
    "job.yaml:5:1: parallelism: there is no such field; did you mean to put it under spec?"
)]
#[case(
    "    image: word-count:1.0",
    "    image: \"\"",
    "job.yaml:7:12: spec.program.image: \"\" is no container image; name one as in \
     registry.example/team/my-job:1.0"
)]
#[case(
    "    image",
    "    args: {}\n    image",
    "job.yaml:7:11: spec.program.args: expected a list, found a map"
)]
fn a_mistake_in_a_manifest_is_named_with_its_place(
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: &str,
) {
    let text = MINIMAL.replacen(from, to, 1);
    let problems = problems(&text, None, &[]);
    assert_eq!(problems[0], expected, "{problems:?}");
}

#[test]
fn a_contradiction_is_told_at_the_nearest_field_there_is() {
    let text = MINIMAL.replace(
        "  program:\n    image: word-count:1.0\n",
        "  parallelism: 200\n",
    );
    assert_eq!(
        problems(&text, None, &[]),
        [
            "job.yaml:6:3: spec: neither sql nor program is given; give one of them, as in \
             program: {image: my-job:1.0}",
            "job.yaml:6:16: spec.parallelism: it exceeds maxParallelism; lower it, or create a \
             job with a higher maxParallelism",
        ]
    );
}

#[test]
fn options_come_before_the_files_fields() {
    let sets = [
        "spec.parallelism=4".to_owned(),
        "spec.program.args=[x]".to_owned(),
    ];
    let job = read(MINIMAL, None, &sets).unwrap();
    assert_eq!(job.parallelism, 4);
    assert!(matches!(job.logic, Logic::Program(program) if program.args == ["x"]));
}

#[rstest]
#[case(
    "spec.parallelism=four",
    "--set spec.parallelism=four: spec.parallelism: expected a whole number, found the text \
     \"four\""
)]
#[case(
    "spec.parallelism=0",
    "--set spec.parallelism=0: spec.parallelism: 0 is out of bounds; give a number from 1 to 32768"
)]
#[case(
    "spec.paralelism=4",
    "--set spec.paralelism=4: spec.paralelism: there is no such field; did you mean parallelism?"
)]
#[case(
    "spec.program.image=5",
    "--set spec.program.image=5: spec.program.image: expected text, found the number 5; put it in \
     quotes"
)]
fn an_options_mistake_names_the_option(#[case] set: &str, #[case] expected: &str) {
    assert_eq!(problems(MINIMAL, None, &[set]), [expected]);
}

/// A manifest with every field.
const FULL: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {name: a, namespace: b, labels: {c: d}}
spec:
  program: {image: x, command: [y], args: ['1'], env: [{name: A, value: \"1\"}]}
  parallelism: 2
  maxParallelism: 16
  checkpoint: &c
    intervalSeconds: 1
    intervalMilliseconds: 500
    storage: {url: s3://bucket, endpoint: http://h, region: r, secretRef: {name: s}}
    retention: {count: 3}
  startFrom: s3://b/x#4
  upgrade: {mode: Savepoint, deadlineSeconds: 60, rollback: Never}
  restart: {attempts: 3, resetAfterSeconds: 5}
  resources: {limits: {cpu: 2, memory: 1Gi}}
  podTemplate: {spec: {a: [1, 2.5, null, true]}}
";

#[test]
fn a_manifest_with_every_field_is_read() {
    assert!(read(FULL, None, &[]).is_ok());
}

proptest! {
    #[test]
    fn no_text_is_read_with_a_panic(text in "\\PC*") {
        let _ = read(&text, None, &[]);
    }

    #[test]
    fn no_yaml_is_read_with_a_panic(text in "[-:\\[\\]{}#&*!|>'\"%@`?, \n\ta-c0-9]{0,60}") {
        let _ = read(&text, None, &[]);
    }

    #[test]
    fn a_damaged_manifest_is_read_or_refused_with_a_reason(
        at in 0..FULL.len(),
        length in 0_usize..20,
        inserted in "[-:\\[\\]{}#&*!|>'\", \na-c0-9]{0,6}",
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{inserted}{}", &FULL[..at], &FULL[end..]);
        if let Err(problems) = read(&text, None, &[]) {
            prop_assert!(problems.iter().all(|problem| !problem.text.is_empty()));
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn no_option_is_applied_with_a_panic(set in "[a-z.\\[\\]\"=:0-9{} ]{0,30}") {
        let _ = read(FULL, None, &[format!("spec.{set}"), set]);
    }
}
