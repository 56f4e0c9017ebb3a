//! The API server goes away and comes back.

use std::time::{Duration, Instant};

use super::{Cluster, Component, Error, POLL, Result, node};

/// How long the API server may take to be ready again.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// How long kubelet may take to notice. Its watches double their waits up to 30 seconds, and up to
/// as much again is left to chance.
const NODE_DEADLINE: Duration = Duration::from_secs(120);

const PROBE: &str = "after-outage";

impl Cluster {
    /// Stops the API server: every connection to it breaks, and none can be made.
    ///
    /// # Errors
    /// When the cluster is gone or somebody else's.
    pub fn stop_api_server(&self) -> Result<()> {
        self.stop_component(Component::ApiServer)
    }

    /// Starts the API server again and waits until it is ready, and until the cluster runs a new
    /// pod: whatever watched the old server looks for it in growing intervals, and until then a
    /// cluster does nothing.
    ///
    /// # Errors
    /// When the API server is not ready within two minutes, or the cluster runs no pod within four
    /// more.
    pub fn start_api_server(&self) -> Result<()> {
        self.start_component(Component::ApiServer)?;
        let plan = self.own("start the API server")?;
        self.wait_for(Component::ApiServer, READY_DEADLINE, "ready", || {
            node::is_api_server_ready(plan)
        })?;
        // With leader election they would have ended without the server; here they only wait.
        for component in [Component::ControllerManager, Component::Scheduler] {
            self.stop_component(component)?;
            self.start_component(component)?;
        }
        let delete = ["delete", "pod", PROBE, "--now", "--ignore-not-found"];
        self.kubectl(&delete)?;
        let image = format!("--image={}", plan.pod_image);
        let get = ["get", "pod", PROBE];
        self.wait_for(
            Component::ControllerManager,
            READY_DEADLINE,
            "at work",
            // An answer may be lost, and the pod be there.
            || self.kubectl(&["run", PROBE, &image]).is_ok() || self.kubectl(&get).is_ok(),
        )?;
        let phase = ["get", "pod", PROBE, "-o", "jsonpath={.status.phase}"];
        self.wait_for(Component::Kubelet, NODE_DEADLINE, "at work", || {
            self.kubectl(&phase).is_ok_and(|phase| phase == "Running")
        })?;
        self.kubectl(&delete)?;
        Ok(())
    }

    fn wait_for(
        &self,
        component: Component,
        limit: Duration,
        state: &str,
        is_reached: impl Fn() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !is_reached() {
            if Instant::now() > deadline {
                let log = self.own("read a log")?.log(component.name());
                return Err(Error::Component {
                    what: format!("{} is not {state} again", component.name()),
                    tail: crate::process::tail(&log),
                    log,
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}
