//! Event Notifications' Periodic Timer, which starts jobs at set times. It comes due when a test
//! says so, not by the clock.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::CloudHandle;
use crate::clock::{millis, now};
use crate::event_notifications;
use crate::store::{Store, new_id};

/// What a job gets as `ibmendata` when the timer comes due. IBM documents no shape.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum TimerEvent {
    /// Only a `data` object, without anything around it.
    BareData,
    /// A CloudEvent of a source and type of its own.
    CloudEvent,
    /// The same, but its `data` is an empty object.
    CloudEventWithoutData,
    /// `{}`.
    Empty,
}

impl TimerEvent {
    /// Every shape.
    pub const ALL: [Self; 4] = [
        Self::BareData,
        Self::CloudEvent,
        Self::CloudEventWithoutData,
        Self::Empty,
    ];

    fn document(self, store: &Store, source: &str) -> Value {
        let data = json!({ "schedule": "17 3 * * *", "time": millis(now()) });
        match self {
            Self::BareData => data,
            Self::CloudEvent => json!({
                "data": data,
                "datacontenttype": "application/json",
                "ibmendefaultlong": "The schedule of the periodic timer came due.",
                "ibmendefaultshort": "Periodic timer",
                "ibmenseverity": "LOW",
                "ibmensourceid": source,
                "id": new_id(),
                "source": store.en_instance_crn,
                "specversion": "1.0",
                "time": millis(now()),
                "type": "com.ibm.cloud.event-notifications.periodic-timer",
            }),
            Self::CloudEventWithoutData => {
                let mut event = Self::CloudEvent.document(store, source);
                event["data"] = json!({});
                event
            }
            Self::Empty => json!({}),
        }
    }
}

/// The Periodic Timer.
impl CloudHandle {
    /// Switches the timer on as a source, and subscribes a job to a schedule (five fields).
    pub fn subscribe_job_to_timer(&self, project_id: &str, job: &str, schedule: &str) {
        let source = self.enable_timer();
        let rule = json!({ "event_schedule_filter": { "expression": schedule } });
        self.subscribe(project_id, job, "schedule", &source, rule);
    }

    /// Switches the timer on as a source of Event Notifications; returns the source's id.
    pub fn enable_timer(&self) -> String {
        self.cloud.update(|store| {
            if let Some(id) = timer(store) {
                return id;
            }
            let id = format!("{}:timer", new_id());
            let source = json!({
                "id": id,
                "name": "Periodic Timer",
                "description": "",
                "enabled": true,
                "type": event_notifications::TIMER,
                "updated_at": millis(now()),
            });
            let source = source.as_object().cloned().unwrap_or_default();
            store.sources.insert(id.clone(), source);
            id
        })
    }

    /// The timer comes due: every topic with a schedule of it gets one event. The shape is the
    /// one that the options chose. Returns when all deliveries are over.
    pub fn fire_timer(&self) {
        self.fire_timer_as(self.cloud.options.timer_event);
    }

    /// As `fire_timer`, with an event of this shape.
    pub fn fire_timer_as(&self, shape: TimerEvent) {
        let (source, event) = self.cloud.update(|store| {
            let source = timer(store).unwrap_or_else(|| panic!("the timer is not switched on"));
            let event = shape.document(store, &source);
            (source, event)
        });
        let tick = event_notifications::tick(&self.cloud, &source, event);
        self.cloud.runtime.block_on(tick);
    }
}

fn timer(store: &Store) -> Option<String> {
    let mut sources = store.sources.iter();
    let (id, _) = sources.find(|(_, source)| source["type"] == event_notifications::TIMER)?;
    Some(id.clone())
}
