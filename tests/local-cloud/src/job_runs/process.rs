//! The processes of one run: started, waited for, tried again, ended.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Attempt, Run};
use crate::clock::{now, seconds};
use crate::{Cloud, Environment};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(30);

/// What the processes of one run need.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) cloud: Arc<Cloud>,
    pub(super) project_id: String,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Environment,
    pub(super) retry_limit: u32,
    pub(super) deadline: Instant,
    pub(super) stop: watch::Receiver<bool>,
}

/// What ended a process.
#[derive(Clone, Copy, PartialEq)]
enum Ended {
    ByItself,
    Deadline,
    Stopped,
}

impl Plan {
    pub(super) async fn run(self, indices: Vec<u32>) {
        let mut running = JoinSet::new();
        for index in indices {
            running.spawn(self.clone().run_index(index));
        }
        while running.join_next().await.is_some() {}
        self.note(|run| run.completed_at = Some(now()));
    }

    async fn run_index(self, index: u32) {
        for retry in 0..=self.retry_limit {
            self.note(|run| {
                let started = seconds(now());
                let state = run.indices.entry(index).or_default();
                state["status"] = "running".into();
                state["retries"] = retry.into();
                if state["started_at"] == Value::Null {
                    state["started_at"] = started.into();
                }
            });
            let (attempt, ended) = self.attempt(index, retry).await;
            let succeeded = attempt.exit_code == Some(0);
            let reason = match (ended, attempt.exit_code) {
                (Ended::Deadline, _) => "MaxExecutionTimeExceeded".to_owned(),
                (_, Some(code)) => format!("ContainerExitedCode{code}"),
                (Ended::ByItself, None) if attempt.duration_ms == 0 => "ExecutableNotFound".into(),
                _ => "ContainerKilled".into(),
            };
            let last = succeeded || ended != Ended::ByItself || retry == self.retry_limit;
            self.note(|run| {
                run.public.attempts.push(attempt);
                let state = run.indices.entry(index).or_default();
                if last {
                    state["status"] = if succeeded { "succeeded" } else { "failed" }.into();
                    state["finished_at"] = seconds(now()).into();
                }
                if last && !succeeded {
                    state["last_failure_reason"] = reason.as_str().into();
                }
                if !succeeded {
                    run.public.last_failure_reason = Some(reason);
                }
            });
            if last {
                return;
            }
        }
    }

    /// One process, from start to its end, whatever ends it.
    async fn attempt(&self, index: u32, retry: u32) -> (Attempt, Ended) {
        let mut environment = self.environment.clone();
        environment.insert("HOSTNAME".into(), format!("{}-{index}-{retry}", self.name));
        environment.insert("JOB_INDEX".into(), index.to_string());
        environment.insert("JOB_INDEX_RETRY_COUNT".into(), retry.to_string());
        let mut attempt = Attempt {
            index,
            retry,
            exit_code: None,
            stdout: String::new(),
            stderr: String::new(),
            environment,
            duration_ms: 0,
        };
        let Some(program) = &self.cloud.options.job_program else {
            attempt.stderr = "this cloud was started without a job program".into();
            return (attempt, Ended::ByItself);
        };
        let began = Instant::now();
        let ended = match self.process(program, &mut attempt).await {
            Ok(ended) => ended,
            Err(error) => {
                attempt.stderr = format!("{} did not start: {error}", program.display());
                return (attempt, Ended::ByItself);
            }
        };
        let took = began.elapsed().as_millis().max(1);
        attempt.duration_ms = u64::try_from(took).unwrap_or(u64::MAX);
        (attempt, ended)
    }

    async fn process(&self, program: &Path, attempt: &mut Attempt) -> std::io::Result<Ended> {
        let mut child = Command::new(program)
            .args(&self.arguments)
            .env_clear()
            .envs(&attempt.environment)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what a script starts ends with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id.and_then(Pid::from_raw);
        // An error means that it is gone already.
        let signal = |signal| group.map(|group| kill_process_group(group, signal));
        let stdout = tokio::spawn(collected(child.stdout.take()));
        let stderr = tokio::spawn(collected(child.stderr.take()));
        let (mut stop, mut shutdown) = (self.stop.clone(), self.cloud.shutdown.subscribe());
        let ended = tokio::select! {
            _ = child.wait() => Ended::ByItself,
            () = tokio::time::sleep_until(self.deadline) => Ended::Deadline,
            Ok(_) = stop.wait_for(|stop| *stop) => Ended::Stopped,
            Ok(_) = shutdown.wait_for(|stop| *stop) => Ended::Stopped,
        };
        if ended != Ended::ByItself && !*shutdown.borrow() {
            signal(Signal::TERM);
            tokio::select! {
                _ = child.wait() => {}
                () = tokio::time::sleep(GRACE) => {}
                Ok(_) = shutdown.wait_for(|stop| *stop) => {}
            }
        }
        signal(Signal::KILL);
        let status = child.wait().await?;
        attempt.exit_code = status.code();
        attempt.stdout = stdout.await.unwrap_or_default();
        attempt.stderr = stderr.await.unwrap_or_default();
        Ok(ended)
    }

    /// Changes the run, if it was not deleted meanwhile.
    fn note(&self, change: impl FnOnce(&mut Run)) {
        self.cloud.update(|store| {
            let project = store.projects.get_mut(&self.project_id);
            if let Some(run) = project.and_then(|project| project.job_runs.get_mut(&self.name)) {
                change(run);
                run.settle();
            }
        });
    }
}

async fn collected(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is still the output.
        let _ = pipe.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
