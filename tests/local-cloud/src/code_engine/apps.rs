//! Revisions of apps: when a change makes one, and what becomes of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Options;

/// What becomes of the next revisions of an app.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AppFate {
    /// Deploying for ever.
    Deploying,
    /// Failed at once; the one before keeps serving.
    Failed,
    /// Ready at once.
    #[default]
    Ready,
    /// Deploying while the app is read so many times, then ready.
    ReadyAfterReads(u32),
}

/// The revisions of one app; the first is ready.
pub(crate) struct Revisions {
    pub(crate) created: u32,
    ready: u32,
    fate: AppFate,
    /// Of the latest created.
    stage: Stage,
    /// The app still shows its status of before the last change, to one more read.
    unseen: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Stage {
    Deploying { reads_left: Option<u32> },
    Failed,
    Ready,
}

impl Revisions {
    pub(super) fn first() -> Self {
        Self {
            created: 1,
            ready: 1,
            fate: AppFate::Ready,
            stage: Stage::Ready,
            unseen: false,
        }
    }

    /// A change of the template.
    pub(super) fn next(&mut self, unseen: bool) {
        self.created += 1;
        self.unseen = unseen;
        self.settle();
    }

    /// Also for a revision that is being deployed.
    pub(crate) fn decide(&mut self, fate: AppFate) {
        self.fate = fate;
        if matches!(self.stage, Stage::Deploying { .. }) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.stage = match self.fate {
            AppFate::Deploying => Stage::Deploying { reads_left: None },
            AppFate::Failed => Stage::Failed,
            AppFate::Ready => Stage::Ready,
            AppFate::ReadyAfterReads(reads) => Stage::Deploying {
                reads_left: Some(reads),
            },
        };
        if self.stage == Stage::Ready {
            self.ready = self.created;
        }
    }

    /// The app is read.
    pub(super) fn read(&mut self) {
        match &mut self.stage {
            Stage::Deploying {
                reads_left: Some(0),
            } => {
                self.stage = Stage::Ready;
                self.ready = self.created;
            }
            Stage::Deploying {
                reads_left: Some(left),
            } => *left -= 1,
            _ => {}
        }
    }

    /// Is the status still that of before the last change? True once.
    pub(super) fn take_unseen(&mut self) -> bool {
        std::mem::take(&mut self.unseen)
    }

    /// Puts `status` and `status_details` among the fields, unless they are still those of before.
    pub(crate) fn show(&self, options: &Options, app: &str, fields: &mut Map<String, Value>) {
        if self.unseen {
            return;
        }
        let (status, reason) = match self.stage {
            Stage::Deploying { .. } => ("deploying", "deploying"),
            Stage::Failed => (
                options.failed_app_status.as_str(),
                "ready_but_latest_revision_failed",
            ),
            Stage::Ready => ("ready", "ready"),
        };
        let details = json!({
            "latest_created_revision": revision(app, self.created),
            "latest_ready_revision": revision(app, self.ready),
            "reason": reason,
        });
        fields.insert("status".into(), status.into());
        fields.insert("status_details".into(), details);
    }
}

fn revision(app: &str, number: u32) -> String {
    format!("{app}-{number:05}")
}

/// What makes a revision when it changes: all fields but those that Code Engine sets.
pub(super) fn template(fields: &Map<String, Value>) -> Map<String, Value> {
    let mut template = fields.clone();
    template.retain(|name, _| !name.starts_with("status"));
    template
}
