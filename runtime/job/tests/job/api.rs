//! The job API, by a real HTTP client.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::client::Client;
use crate::support::{TestJob, end};

fn served_job() -> TestJob {
    let mut job = TestJob::new();
    job.plan.count = 1_000_000;
    job.plan.pause_us = 1000;
    job.hold_end();
    job.config["listenAddress"] = json!("127.0.0.1:0");
    job
}

#[test]
fn a_running_job_tells_what_it_is_and_does() {
    let job = served_job();
    let mut process = job.start();
    let client = Client::of(&mut process);
    client.wait_until("ready", |client| client.get("/readyz").0 == 200);
    assert_eq!(client.get("/livez"), (200, "ok\n".to_owned()));
    client.wait_until("checkpoints", |client| {
        client.json("/v1/checkpoints")[0].is_object()
    });

    let told = client.json("/v1/job");
    assert_eq!(told["name"], "numbers");
    assert_eq!(told["phase"], "Running");
    assert_eq!(told["parallelism"], 2);
    assert!(told["attempt"].is_u64());

    let graph = client.json("/v1/graph");
    let ids: Vec<_> = graph["operators"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["id"])
        .collect();
    assert_eq!(ids, ["numbers", "count", "written"]);
    let input = json!({"operator": "numbers", "exchange": "hash"});
    assert_eq!(graph["operators"][1]["inputs"][0], input);

    let (status, metrics) = client.get("/metrics");
    assert_eq!(status, 200);
    for name in [
        "tidegate_job_running",
        "tidegate_job_checkpoints_total",
        "process_resident",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    let labels = "job_namespace=\"default\",job_name=\"numbers\",operator=\"count\",subtask=\"1\"";
    assert!(metrics.contains(labels), "{metrics}");
}

#[test]
fn a_savepoint_is_taken_looked_at_and_given_up() {
    let job = served_job();
    let mut process = job.start();
    let client = Client::of(&mut process);
    process.wait_for_state();
    let (status, answer) = client.post("/v1/savepoints", &Value::Null);
    assert_eq!(status, 201, "{answer}");
    let id = answer["checkpoint"].as_u64().unwrap();

    let detail = client.json(&format!("/v1/checkpoints/{id}"));
    assert_eq!(detail["kind"], "Savepoint");
    let operators = detail["operators"].as_array().unwrap();
    let count = operators
        .iter()
        .find(|operator| operator["id"] == "count")
        .unwrap();
    assert!(count["rowCount"].as_u64().unwrap() > 0, "{detail}");

    // The job goes on from the newest one, which cannot be given up.
    let is_newer = |event: &Value| event["checkpoint"]["id"].as_u64() > Some(id);
    process.wait_for("checkpointCompleted", is_newer);
    assert_eq!(client.delete(&format!("/v1/checkpoints/{id}")), 204);
    assert_eq!(client.get(&format!("/v1/checkpoints/{id}")).0, 404);
    assert_eq!(client.delete(&format!("/v1/checkpoints/{id}")), 404);
}

#[test]
fn a_checkpoint_that_was_given_up_is_not_listed_though_none_completes_after_it() {
    let mut job = served_job();
    job.config["checkpoint"]["intervalMs"] = json!(null);
    let mut process = job.start();
    let client = Client::of(&mut process);
    client.wait_for_phase("Running");
    let savepoint = || {
        let (status, answer) = client.post("/v1/savepoints", &Value::Null);
        assert_eq!(status, 201, "{answer}");
        answer["checkpoint"].clone()
    };
    let (given_up, kept) = (savepoint(), savepoint());
    let path = format!("/v1/checkpoints/{given_up}");
    assert_eq!(client.delete(&path), 204);
    let listed = client.json("/v1/checkpoints");
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["id"], kept);
    assert_eq!(client.json("/v1/job")["lastCheckpoint"]["id"], kept);
    assert_eq!(client.get(&path).0, 404);
    assert_eq!(client.delete(&path), 404);
    // The one that the job goes on from stays.
    assert_eq!(client.delete(&format!("/v1/checkpoints/{kept}")), 409);
}

#[test]
fn a_rescale_goes_on_at_the_new_parallelism_and_a_stop_ends_with_a_savepoint() {
    let mut job = served_job();
    let mut process = job.start();
    let client = Client::of(&mut process);
    client.wait_until("ready", |client| client.get("/readyz").0 == 200);
    let (status, answer) = client.post("/v1/rescale", &json!({"parallelism": 3}));
    assert_eq!(status, 200, "{answer}");
    let is_rescaled = |client: &Client| {
        let job = client.json("/v1/job");
        job["parallelism"] == 3 && job["phase"] == "Running"
    };
    client.wait_until("rescaled", is_rescaled);
    let (status, answer) = client.post("/v1/stop", &json!({}));
    assert_eq!(status, 200, "{answer}");
    let (code, events) = process.wait();
    assert_eq!(code, 0, "{events:#?}");
    assert_eq!(end(&events)["checkpoint"], answer["checkpoint"]);

    job.plan.pause_us = 0;
    job.may_end();
    job.config["checkpoint"]["intervalMs"] = json!(1000);
    assert_eq!(job.run().0, 0);
    job.assert_exact();
}

#[test]
fn what_happens_is_streamed_until_the_job_is_over() {
    let job = served_job();
    let mut process = job.start();
    let client = Client::of(&mut process);
    let answer = client
        .agent
        .get(format!("{}/v1/events", client.base))
        .call()
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
    let completed = lines.find(|line| line.as_ref().unwrap() == "event: checkpointCompleted");
    assert!(completed.is_some());
    let data = lines.next().unwrap().unwrap();
    let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert!(event["checkpoint"]["id"].is_u64());
    process.signal("INT");
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line == "event: ended"), "{rest:#?}");
    assert_eq!(process.wait().0, 0);
}

#[test]
fn a_wrong_request_is_answered_with_a_problem() {
    let job = served_job();
    let mut process = job.start();
    let client = Client::of(&mut process);
    let problem = |(status, body): (u16, Value)| {
        assert_eq!(body["status"], status);
        (status, body["category"].as_str().unwrap().to_owned())
    };
    let bad = client.post("/v1/rescale", &json!({"parallelism": 17}));
    assert!(
        bad.1["detail"].as_str().unwrap().contains("from 1 to 16"),
        "{}",
        bad.1
    );
    assert_eq!(problem(bad), (400, "BadRequest".to_owned()));
    let bad = client.post("/v1/stop", &json!({"savepiont": true}));
    assert_eq!(problem(bad), (400, "BadRequest".to_owned()));
    // Lists of values, which the types behind would take.
    for (path, body) in [("/v1/stop", json!([])), ("/v1/savepoints", json!(["name"]))] {
        assert_eq!(
            problem(client.post(path, &body)),
            (400, "BadRequest".to_owned())
        );
    }
    let large = json!({"name": "a".repeat(10_000)});
    let bad = client.post("/v1/savepoints", &large);
    assert_eq!(problem(bad), (400, "BadRequest".to_owned()));
    let (status, body) = client.get("/v1/checkpoints/999");
    let body = serde_json::from_str(&body).unwrap();
    assert_eq!(
        problem((status, body)),
        (404, "NoSuchCheckpoint".to_owned())
    );
    let (status, body) = client.get("/v2");
    assert_eq!(
        problem((status, serde_json::from_str(&body).unwrap())),
        (404, "NotFound".to_owned())
    );
    let foreign = client.agent.get(format!("{}/v1/job", client.base));
    let answer = foreign
        .header("origin", "https://example.com")
        .call()
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
}

#[test]
fn every_path_of_the_description_is_served() {
    let job = served_job();
    let mut process = job.start();
    let client = Client::of(&mut process);
    let description = client.json("/openapi.json");
    for (path, methods) in description["paths"].as_object().unwrap() {
        if methods.get("get").is_some() && path != "/v1/events" && !path.contains('{') {
            let (status, body) = client.get(path);
            assert!(status == 200 || status == 503, "{path}: {status} {body}");
        }
    }
}
