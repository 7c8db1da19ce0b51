//! The processes of one run: started, waited for, tried again, ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::settings::Settings;
use super::{Attempt, Index, Run};
use crate::Cloud;
use crate::clock::now;

/// What the processes of one run need.
#[derive(Clone)]
pub(super) struct Plan {
    cloud: Arc<Cloud>,
    project_id: String,
    name: String,
    environment: BTreeMap<String, String>,
    settings: Settings,
    deadline: Instant,
    stop: watch::Receiver<bool>,
}

/// Why a process ended, if not by itself.
enum Ended {
    ByItself,
    Deadline,
    Stopped,
}

impl Plan {
    pub(super) fn of(cloud: &Arc<Cloud>, run: &Run) -> Self {
        Self {
            cloud: cloud.clone(),
            project_id: run.project_id.clone(),
            name: run.name.clone(),
            environment: run.environment.clone(),
            settings: run.settings.clone(),
            deadline: Instant::now() + run.settings.max_execution_time,
            stop: run.stop.subscribe(),
        }
    }

    pub(super) async fn run(self) {
        let mut indices = JoinSet::new();
        for index in &self.settings.indices {
            indices.spawn(self.clone().run_index(*index));
        }
        while indices.join_next().await.is_some() {}
        self.note(|run| run.completed_at = Some(now()));
    }

    async fn run_index(self, index: u32) {
        for retry in 0..=self.settings.retry_limit {
            if retry > 0 {
                tokio::time::sleep(self.cloud.options.job_retry_delay).await;
            }
            self.note_index(index, |state| {
                state.status = "running";
                state.retries = retry;
                state.started_at.get_or_insert_with(now);
            });
            let (attempt, ended) = self.attempt(index, retry).await;
            let succeeded = attempt.exit_code == Some(0);
            let reason = match (&ended, attempt.exit_code) {
                (Ended::Deadline, _) => "MaxExecutionTimeExceeded".to_owned(),
                (_, Some(code)) => format!("ContainerExitedCode{code}"),
                (Ended::ByItself, None) if attempt.duration_ms == 0 => "ExecutableNotFound".into(),
                _ => "ContainerKilled".into(),
            };
            self.note(|run| {
                run.attempts.push(attempt);
                if !succeeded {
                    run.last_failure_reason = Some(reason);
                }
            });
            if succeeded || !matches!(ended, Ended::ByItself) || retry == self.settings.retry_limit
            {
                self.note_index(index, |state| {
                    state.status = if succeeded { "succeeded" } else { "failed" };
                    state.finished_at = Some(now());
                });
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
            .args(&self.settings.arguments)
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
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let signal = |signal| {
            if let Some(group) = group {
                // An error means that it is gone already.
                let _ = kill_process_group(group, signal);
            }
        };
        let stdout = tokio::spawn(collected(child.stdout.take()));
        let stderr = tokio::spawn(collected(child.stderr.take()));
        let (mut stop, mut shutdown) = (self.stop.clone(), self.cloud.shutdown.subscribe());
        let ended = tokio::select! {
            _ = child.wait() => Ended::ByItself,
            () = tokio::time::sleep_until(self.deadline) => Ended::Deadline,
            Ok(_) = stop.wait_for(|stop| *stop) => Ended::Stopped,
            Ok(_) = shutdown.wait_for(|stop| *stop) => Ended::Stopped,
        };
        if !matches!(ended, Ended::ByItself) && !*shutdown.borrow() {
            signal(Signal::TERM);
            tokio::select! {
                _ = child.wait() => {}
                () = tokio::time::sleep(self.cloud.options.job_termination_grace) => {}
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
            let run = store
                .projects
                .get_mut(&self.project_id)
                .and_then(|project| project.job_runs.get_mut(&self.name));
            if let Some(run) = run {
                change(run);
            }
        });
    }

    fn note_index(&self, index: u32, change: impl FnOnce(&mut Index)) {
        self.note(|run| {
            if let Some(state) = run.indices.get_mut(&index) {
                change(state);
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
