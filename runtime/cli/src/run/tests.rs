use rstest::rstest;

use super::*;

const MANIFEST: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {name: word-count}
spec: {program: {image: word-count, command: [x, -a], args: [-b]}}
";

fn job(sets: &[&str]) -> ValidJob {
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    manifest::read(MANIFEST, None, &sets).unwrap()
}

fn url(job: &ValidJob, state_dir: Option<&str>) -> String {
    storage(job, state_dir, Path::new("/home/me")).unwrap().url
}

#[rstest]
#[case(&[], None, "/home/me/tidegate-data")]
#[case(&[], Some("state"), "/home/me/state")]
#[case(&[], Some("./state/"), "/home/me/state")]
#[case(&[], Some("/state"), "/state")]
#[case(&["spec.checkpoint.storage.url=s3://bucket/p"], None, "s3://bucket/p")]
#[case(&["spec.checkpoint.storage.url=s3://bucket/p"], Some("state"), "/home/me/state")]
#[case(&["spec.checkpoint.storage.url=state"], None, "/home/me/state")]
#[case(&["spec.checkpoint.storage.url=state"], Some("s3://bucket/p"), "s3://bucket/p")]
fn the_option_comes_before_the_manifest_and_that_before_the_default(
    #[case] sets: &[&str],
    #[case] state_dir: Option<&str>,
    #[case] expected: &str,
) {
    assert_eq!(url(&job(sets), state_dir), expected);
}

#[rstest]
#[case(&[], Some("file:/srv/x"), "--state-dir: storage URL `file:/srv/x` is not valid")]
#[case(
    &["spec.checkpoint.storage.url=s3:/bucket"],
    None,
    "spec.checkpoint.storage.url: storage URL `s3:/bucket` is not valid"
)]
fn what_is_meant_as_a_url_is_no_folder_below_the_current_one(
    #[case] sets: &[&str],
    #[case] state_dir: Option<&str>,
    #[case] told: &str,
) {
    let failure = storage(&job(sets), state_dir, Path::new("/home/me")).unwrap_err();
    assert!(failure.messages[0].starts_with(told), "{failure:?}");
}

#[test]
fn a_server_of_the_manifest_does_not_go_with_the_options_folder() {
    let job = job(&["spec.checkpoint.storage={url: s3://bucket, endpoint: http://localhost:9000}"]);
    let current = Path::new("/");
    assert!(storage(&job, None, current).unwrap().endpoint.is_some());
    assert!(
        storage(&job, Some("s3://other"), current)
            .unwrap()
            .endpoint
            .is_none()
    );
}

#[test]
fn arguments_follow_those_of_the_command() {
    let Logic::Program(program) = job(&[]).logic else {
        panic!("no program")
    };
    assert_eq!(arguments(&program, vec!["-c".into()]), ["-a", "-b", "-c"]);
}

#[rstest]
#[case("127.0.0.1:8082")]
#[case("localhost:0")]
#[case("[::1]:80")]
fn an_address_is_accepted(#[case] address: &str) {
    assert!(check_address(address).is_ok());
}

#[rstest]
#[case("8082")]
#[case(":8082")]
#[case("localhost")]
#[case("localhost:99999")]
#[case("http://localhost:80")]
fn what_is_no_address_is_refused_by_the_options_name(#[case] address: &str) {
    let failure = check_address(address).unwrap_err();
    assert!(
        failure.messages[0].starts_with(&format!("--listen {address}: ")),
        "{failure:?}"
    );
}

#[test]
fn a_suspended_job_is_not_run() {
    let failure = runnable(&job(&["spec.suspend=true"]), "job.yaml").unwrap_err();
    let expected = "job.yaml: spec.suspend: the job is to stand still";
    assert!(failure.messages[0].starts_with(expected), "{failure:?}");
}

#[test]
fn a_job_in_sql_is_refused_for_now() {
    let job = job(&["spec.program=", "spec.sql=SELECT 1"]);
    let failure = runnable(&job, "job.yaml").unwrap_err();
    let expected = "job.yaml: spec.sql: this version of tidegate runs programs only";
    assert!(failure.messages[0].starts_with(expected), "{failure:?}");
}
