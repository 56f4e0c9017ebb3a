//! The job API as a test asks it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{LIMIT, Process};

pub(crate) struct Client {
    pub(crate) agent: ureq::Agent,
    pub(crate) base: String,
}

impl Client {
    pub(crate) fn of(process: &mut Process) -> Self {
        Self::at(&process.address(), LIMIT)
    }

    /// Waits no longer than this for each answer.
    pub(crate) fn at(address: &str, limit: Duration) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let config = config.timeout_global(Some(limit)).build();
        Self {
            agent: config.into(),
            base: format!("http://{address}"),
        }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut answer = self
            .agent
            .get(format!("{}{path}", self.base))
            .call()
            .unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().unwrap(),
        )
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        (
            answer.status().as_u16(),
            serde_json::from_str(&body).unwrap(),
        )
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.agent.patch(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        (
            answer.status().as_u16(),
            serde_json::from_str(&body).unwrap(),
        )
    }

    /// Waits until the job does this; gives the whole job as it was then.
    pub(crate) fn wait_for_phase(&self, phase: &str) -> Value {
        self.wait_for_job(phase, |job| job["phase"] == phase)
    }

    /// Waits until the job is blocked for this reason: a slow store may block it for another one
    /// first.
    pub(crate) fn wait_until_blocked(&self, category: &str) -> Value {
        self.wait_for_job(category, |job| {
            job["phase"] == "Blocked" && job["category"] == category
        })
    }

    fn wait_for_job(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut job = Value::Null;
        self.wait_until(what, |client| {
            job = client.json("/v1/job");
            condition(&job)
        });
        job
    }

    pub(crate) fn delete(&self, path: &str) -> u16 {
        let answer = self.agent.delete(format!("{}{path}", self.base)).call();
        answer.unwrap().status().as_u16()
    }

    /// The status of a deletion that is refused, and the problem told.
    pub(crate) fn delete_refused(&self, path: &str) -> (u16, Value) {
        let answer = self.agent.delete(format!("{}{path}", self.base)).call();
        let mut answer = answer.unwrap();
        let body = answer.body_mut().read_to_string().unwrap();
        (
            answer.status().as_u16(),
            serde_json::from_str(&body).unwrap(),
        )
    }

    pub(crate) fn wait_until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {}",
                self.get("/v1/job").1
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}
