//! Revisions of apps: when a change makes one, and what becomes of it.

use serde_json::{Map, Value, json};

use crate::Options;

/// What becomes of the next revisions of an app.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppFate {
    /// Deploying for ever.
    Deploying,
    /// Failed at once; the one before keeps serving.
    Failed,
    /// Ready at once.
    Ready,
    /// Deploying while the app is read so many times, then ready.
    ReadyAfterReads(u32),
}

/// The revisions of one app; the first is ready.
pub(crate) struct Revisions {
    pub(crate) created: u32,
    ready: u32,
    fate: AppFate,
    /// Of the latest created: what is left of its fate.
    stage: AppFate,
    /// The app still shows its status of before the last change, to one more read.
    unseen: bool,
}

impl Revisions {
    pub(super) fn first() -> Self {
        Self { created: 1, ready: 1, fate: AppFate::Ready, stage: AppFate::Ready, unseen: false }
    }

    /// A change of the template.
    pub(super) fn next(&mut self, unseen: bool) {
        self.created += 1;
        self.unseen = unseen;
        self.enter(self.fate);
    }

    /// Also for a revision that is being deployed.
    pub(crate) fn decide(&mut self, fate: AppFate) {
        self.fate = fate;
        if !matches!(self.stage, AppFate::Failed | AppFate::Ready) {
            self.enter(fate);
        }
    }

    fn enter(&mut self, stage: AppFate) {
        self.stage = stage;
        if stage == AppFate::Ready {
            self.ready = self.created;
        }
    }

    /// The app is read.
    pub(super) fn read(&mut self) {
        match self.stage {
            AppFate::ReadyAfterReads(0) => self.enter(AppFate::Ready),
            AppFate::ReadyAfterReads(left) => self.stage = AppFate::ReadyAfterReads(left - 1),
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
        let failed = options.failed_app_status.as_str();
        let (status, reason) = match self.stage {
            AppFate::Failed => (failed, "ready_but_latest_revision_failed"),
            AppFate::Ready => ("ready", "ready"),
            _ => ("deploying", "deploying"),
        };
        let revision = |number: u32| format!("{app}-{number:05}");
        let details = json!({
            "latest_created_revision": revision(self.created),
            "latest_ready_revision": revision(self.ready),
            "reason": reason,
        });
        fields.insert("status".into(), status.into());
        fields.insert("status_details".into(), details);
    }
}

/// What makes a revision when it changes: all fields but those that Code Engine sets.
pub(super) fn template(fields: &Map<String, Value>) -> Map<String, Value> {
    let mut template = fields.clone();
    template.retain(|name, _| !name.starts_with("status"));
    template
}
