//! A job that starts from the checkpoint of another one, whose sink writes to a bucket.

use super::*;

/// Where this job's own sink writes.
const OWN_URL: &str = "s3://results/own";

fn from_it(fixture: &Fixture) -> SinkRecovery {
    SinkRecovery {
        job: fixture.job("other"),
        ..recovery(1)
    }
}

fn own_sink() -> FileSink<String, Lines> {
    FileSink::new(OWN_URL, Lines)
}

async fn written(fixture: &Fixture) -> Vec<Value> {
    let mut transactions = Vec::new();
    for index in 0..4 {
        let mut writer = fixture.writer(1, index);
        let from = u64::from(index) * 10;
        writer.write(&rows(&lines(from, from + 10))).await.unwrap();
        transactions.extend(pre_commit(&mut writer, 1).await.unwrap());
    }
    transactions
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_job_was_killed_before_it_could_commit_is_committed_where_it_lies() {
    let fixture = Fixture::new(S3Flavour::Minio);
    let transactions = written(&fixture).await;
    let recovered = own_sink().recover(from_it(&fixture), transactions.clone());
    recovered.await.unwrap();
    assert_eq!(fixture.committed().await, lines(0, 40));
    assert_eq!(fixture.names(true).await, [""; 0]);
    // The other job was only asleep, and goes on.
    fixture.sink.commit(transactions.clone()).await.unwrap();
    assert_eq!(fixture.committed().await, lines(0, 40));
    // A reader of the results took the files away.
    let names = fixture.names(false).await;
    fixture.bucket.delete(names).await.unwrap();
    let recovered = own_sink().recover(from_it(&fixture), transactions);
    recovered.await.unwrap();
    assert_eq!(fixture.names(false).await, [""; 0]);
}

async fn commit_at_the_same_time(flavour: S3Flavour) {
    let fixture = Fixture::new(flavour);
    for _ in 0..10 {
        let transactions = written(&fixture).await;
        let own = fixture.sink.commit(transactions.clone());
        let own_sink = own_sink();
        let from_it = own_sink.recover(from_it(&fixture), transactions);
        let (own, from_it) = tokio::join!(own, from_it);
        own.unwrap();
        from_it.unwrap();
        assert_eq!(fixture.committed().await, lines(0, 40));
        assert_eq!(fixture.names(true).await, [""; 0]);
        let names = fixture.names(false).await;
        fixture.bucket.delete(names).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_job_and_the_one_that_starts_from_it_commit_at_the_same_time_with_minio() {
    commit_at_the_same_time(S3Flavour::Minio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_job_and_the_one_that_starts_from_it_commit_at_the_same_time_with_versitygw() {
    commit_at_the_same_time(S3Flavour::Versitygw).await;
}

/// A file that this job wrote to this place.
fn file_of(job: &str, place: String) -> Vec<Value> {
    let file = Transaction {
        place: Some(place),
        job: Some(job.to_owned()),
        pending: "p".into(),
        file: "f".into(),
        size_bytes: 1,
    };
    vec![serde_json::to_value(file).unwrap()]
}

async fn a_bucket_that_is_gone(flavour: S3Flavour) {
    let fixture = Fixture::new(flavour);
    let gone = |job| file_of(job, "s3://missing/out".to_owned());
    let recovered = own_sink().recover(from_it(&fixture), gone("words"));
    recovered.await.unwrap();
    let recovered = own_sink().recover(from_it(&fixture), gone("other"));
    let error = describe(&*recovered.await.unwrap_err());
    assert!(error.contains("the bucket does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_another_job_s_bucket_may_be_gone_with_minio() {
    a_bucket_that_is_gone(S3Flavour::Minio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_another_job_s_bucket_may_be_gone_with_versitygw() {
    a_bucket_that_is_gone(S3Flavour::Versitygw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_job_s_place_that_is_denied_is_told_with_what_to_do() {
    let fixture = Fixture::new(S3Flavour::Versitygw);
    let place = format!("s3://denied/out?endpoint={}", forbidding());
    let denied = file_of("words", place.clone());
    let recovered = own_sink().recover(from_it(&fixture), denied.clone());
    let error = recovered.await.unwrap_err();
    assert!(
        !tidegate_engine::is_permanent(&*error),
        "it heals when the permission is there"
    );
    let error = describe(&*error);
    let said = format!("cannot commit what another job wrote to `{place}`");
    assert!(error.contains(&said), "{error}");
    assert!(error.contains("leaving_other_jobs_files"), "{error}");
    assert!(
        error.contains("grant them list, get, put and delete"),
        "{error}"
    );
    let leaving = own_sink().leaving_other_jobs_files();
    leaving.recover(from_it(&fixture), denied).await.unwrap();
}
