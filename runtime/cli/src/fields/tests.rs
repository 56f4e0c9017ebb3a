use rstest::rstest;
use tidegate_api::StreamJobSpec;

use super::*;
use crate::yaml::parse_documents;

fn spec(text: &str) -> Result<StreamJobSpec, Vec<String>> {
    let document = parse_documents(text).unwrap().remove(0);
    let path = FieldPath::parse("spec").unwrap();
    let mut problems = Vec::new();
    match read(&document, &path, &mut problems) {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(problems
            .iter()
            .map(|it| it.render("job.yaml", &[]).to_string())
            .collect()),
    }
}

#[test]
fn a_spec_is_read_from_a_tree() {
    let spec = spec(
        "program: {image: x, args: [a, b], env: [{name: A, value: \"1\"}]}\n\
         parallelism: 4\n\
         checkpoint: {intervalMilliseconds: 500, mode: Aligned}\n\
         suspend: yes\n\
         podTemplate: {spec: {priority: 5, nothing: null}}\n\
         resources: {limits: {cpu: 2, memory: 2Gi}}\n",
    )
    .unwrap();
    let program = spec.program.unwrap();
    assert_eq!(program.args, ["a", "b"]);
    assert_eq!(program.env[0].value, "1");
    assert_eq!((spec.parallelism, spec.suspend), (4, true));
    assert_eq!(spec.checkpoint.interval_milliseconds, Some(500));
    assert_eq!(spec.pod_template.unwrap()["spec"]["priority"], 5);
    assert_eq!(spec.resources.unwrap().limits["cpu"].0, "2");
}

#[test]
fn a_field_without_a_value_is_absent() {
    let spec = spec("parallelism:\nprogram: {image: x, args: }\n").unwrap();
    assert_eq!(spec.parallelism, 1);
    assert!(spec.program.unwrap().args.is_empty());
}

#[rstest]
#[case(
    "parallelism: four",
    "job.yaml:1:14: spec.parallelism: expected a whole number, found the text \"four\""
)]
#[case(
    "parallelism: 1.5",
    "job.yaml:1:14: spec.parallelism: expected a whole number, found the number 1.5"
)]
#[case(
    "parallelism: 5000000000",
    "job.yaml:1:14: spec.parallelism: the number 5000000000 is out of range"
)]
#[case(
    "parallelism: [1]",
    "job.yaml:1:14: spec.parallelism: expected a whole number, found a list"
)]
#[case(
    "suspend: maybe",
    "job.yaml:1:10: spec.suspend: expected true or false, found the text \"maybe\""
)]
#[case(
    "program: {image: 1.5}",
    "job.yaml:1:18: spec.program.image: expected text, found the number 1.5; put it in quotes"
)]
#[case(
    "program: {image: x, args: [a, 5]}",
    "job.yaml:1:31: spec.program.args[1]: expected text, found the number 5; put it in quotes"
)]
#[case(
    "program: {image: x, env: [{name: A, value: on}]}",
    "job.yaml:1:44: spec.program.env[0].value: expected text, found the boolean true; put it in \
     quotes"
)]
#[case(
    "program: {image: x, args: a}",
    "job.yaml:1:27: spec.program.args: expected a list, found the text \"a\""
)]
#[case(
    "program: x",
    "job.yaml:1:10: spec.program: expected a map, found the text \"x\""
)]
#[case(
    "program: {args: []}",
    "job.yaml:1:10: spec.program.image: it is missing; give it"
)]
#[case(
    "checkpoint: {mode: aligned}",
    "job.yaml:1:20: spec.checkpoint.mode: there is no \"aligned\"; did you mean Aligned?"
)]
#[case(
    "checkpoint: {mode: Unaligned}",
    "job.yaml:1:20: spec.checkpoint.mode: there is no \"Unaligned\"; did you mean Aligned?"
)]
#[case(
    "checkpoint: {mode: Fast}",
    "job.yaml:1:20: spec.checkpoint.mode: there is no \"Fast\"; there is Aligned only"
)]
#[case(
    "logLevel: 3",
    "job.yaml:1:11: spec.logLevel: expected Error or Warn or Info or Debug or Trace, found the \
     number 3"
)]
#[case(
    "paralelism: 4",
    "job.yaml:1:1: spec.paralelism: there is no such field; did you mean \
     parallelism?"
)]
#[case(
    "program: {image: x, volumes: []}",
    "job.yaml:1:21: spec.program.volumes: there is no such field; there are image, command, args, \
     env"
)]
#[case(
    "resources: {limits: {cpu: true}}",
    "job.yaml:1:27: spec.resources.limits.cpu: expected a quantity such as 500m or 2Gi, found the \
     boolean true"
)]
fn a_wrong_field_is_named_with_its_place(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(spec(text).unwrap_err(), [expected]);
}

#[test]
fn a_misspelt_field_and_the_one_that_it_leaves_missing_are_both_named() {
    let problems = spec("program: {imgae: x}").unwrap_err();
    assert_eq!(
        problems,
        [
            "job.yaml:1:11: spec.program.imgae: there is no such field; did you mean image?",
            "job.yaml:1:10: spec.program.image: it is missing; give it",
        ]
    );
}
