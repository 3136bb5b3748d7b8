//! Supervises the tasks of the daemon by name.
//!
//! A task handles expected errors itself and keeps running. A task that returns or panics while the
//! daemon runs is a fault: the supervisor reports its name, and the daemon stops. systemd then
//! restarts the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use crate::liveness::Liveness;

#[cfg(panic = "abort")]
compile_error!("supervision relies on unwinding: build with panic = \"unwind\"");

/// Reports an unexpected end of a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnd {
    /// The task returned without a request to end.
    #[error("task {0} ended by itself")]
    Returned(String),
    /// The task panicked.
    #[error("task {0} panicked")]
    Panicked(String),
}

/// Supervises a set of named tasks.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<()>,
    names: BTreeMap<Id, String>,
    liveness: Liveness,
}

impl Supervisor {
    /// Starts a task.
    pub fn spawn(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let name = name.into();
        let handle = self.tasks.spawn(self.liveness.clone().watched(name.clone(), task));
        self.names.insert(handle.id(), name);
    }

    /// Returns the liveness of the tasks.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// Waits until a task ends, which is a fault while the daemon runs. Cancel-safe.
    pub async fn watch(&mut self) -> TaskEnd {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => TaskEnd::Returned(self.forget(id)),
            Some(Err(error)) => self.failed(&error),
            None => std::future::pending().await,
        }
    }

    /// Waits until the tasks `names` have ended. The caller has requested this end.
    ///
    /// # Errors
    /// If one of these tasks panics, or if another task ends meanwhile.
    pub async fn ended(&mut self, names: &BTreeSet<String>) -> Result<(), TaskEnd> {
        while self.names.values().any(|name| names.contains(name)) {
            match self.watch().await {
                TaskEnd::Returned(name) if names.contains(&name) => {}
                end @ (TaskEnd::Returned(_) | TaskEnd::Panicked(_)) => return Err(end),
            }
        }
        Ok(())
    }

    /// Waits at most `grace` for all tasks to end, then aborts the remaining tasks.
    ///
    /// Returns a description of each task that was aborted or panicked.
    pub async fn finish(mut self, grace: Duration) -> Vec<String> {
        let mut faults = Vec::new();
        let all_ended = tokio::time::timeout(grace, async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                match ended {
                    Ok((id, ())) => drop(self.forget(id)),
                    Err(error) => faults.push(self.failed(&error).to_string()),
                }
            }
        });
        if all_ended.await.is_err() {
            faults.extend(
                self.names.values().map(|name| format!("task {name} did not end in {grace:?}")),
            );
            self.tasks.shutdown().await;
        }
        faults
    }

    fn forget(&mut self, id: Id) -> String {
        self.names.remove(&id).unwrap_or_default()
    }

    fn failed(&mut self, error: &JoinError) -> TaskEnd {
        TaskEnd::Panicked(self.forget(error.id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_a_panic_with_the_task_name() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("steady", std::future::pending());
        supervisor.spawn("shaky", async { panic!("as the test wants") });
        assert_eq!(supervisor.watch().await.to_string(), "task shaky panicked");
    }

    #[tokio::test]
    async fn only_an_unrequested_end_is_a_fault() {
        let mut supervisor = Supervisor::default();
        let asked = BTreeSet::from(["asked".to_owned()]);
        supervisor.spawn("asked", async {});
        supervisor.spawn("steady", std::future::pending());
        supervisor.ended(&asked).await.unwrap();
        supervisor.spawn("asked", std::future::pending());
        supervisor.spawn("shaky", async {});
        let end = supervisor.ended(&asked).await.unwrap_err();
        assert_eq!(end.to_string(), "task shaky ended by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn aborts_and_reports_a_hung_task() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("quick", async {});
        supervisor.spawn("hung", std::future::pending());
        let faults = supervisor.finish(Duration::from_secs(10)).await;
        assert_eq!(faults, ["task hung did not end in 10s"]);
    }
}
