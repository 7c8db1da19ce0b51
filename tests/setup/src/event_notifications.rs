//! `event-notifications`.

use serde_json::{Value, json};

use crate::rest::Door;
use crate::session::{Command, Outcome, Problem, Session, failed, shown, shown_list};
use crate::table::Call;

macro_rules! command {
    ($name:literal, $required:expr, $changes:literal, $run:expr) => {
        Command {
            name: concat!("event-notifications ", $name),
            words: 0,
            required: $required,
            switches: &[],
            changes: $changes,
            run: $run,
        }
    };
}

const INSTANCE: &[&str] = &["--instance-id"];
const ONE: &[&str] = &["--instance-id", "--id"];
/// Without `--force` they ask, and nobody answers here.
const DELETE: &[&str] = &["--instance-id", "--id", "--force"];

pub(crate) const COMMANDS: &[Command] = &[
    command!("sources", INSTANCE, false, |s, c| s.list_of(c, "sources")),
    command!("topics", INSTANCE, false, |s, c| s.list_of(c, "topics")),
    command!("destinations", INSTANCE, false, |s, c| s
        .list_of(c, "destinations")),
    command!("subscriptions", INSTANCE, false, |s, c| s
        .list_of(c, "subscriptions")),
    command!("topic", ONE, false, |s, c| s.one_of(c, "topics")),
    command!("destination", ONE, false, |s, c| s
        .one_of(c, "destinations")),
    command!(
        "topic-create",
        &["--instance-id", "--name"],
        true,
        |s, c| {
            let sources = parsed(c, "--sources")?;
            let body = json!({ "name": c.flag("--name"), "description": c.flag("--description"), "sources": sources });
            s.create(c, "topics", &body)
        }
    ),
    command!(
        "destination-create",
        &["--instance-id", "--name", "--type"],
        true,
        |s, c| {
            let config = parsed(c, "--config")?;
            let crn = config["params"]["project_crn"].as_str().unwrap_or_default();
            let project = crn.split(':').nth(7).unwrap_or_default();
            let roles = ["Viewer", "Writer"];
            if !s.is_authorized("event-notifications", "codeengine", project, &roles) {
                return failed("Event Notifications is not authorized to use this project.");
            }
            let body = json!({
                "name": c.flag("--name"), "description": c.flag("--description"),
                "type": c.flag("--type"), "config": config,
            });
            s.create(c, "destinations", &body)
        }
    ),
    command!(
        "subscription-create",
        &["--instance-id", "--name", "--topic-id", "--destination-id"],
        true,
        |s, c| {
            let name = c.flag("--name").unwrap_or_default();
            if name.len() > 50 {
                return failed(format!("The name {name} has more than 50 characters."));
            }
            let mut body = json!({
                "name": name, "description": c.flag("--description"),
                "topic_id": c.flag("--topic-id"), "destination_id": c.flag("--destination-id"),
            });
            if c.flag("--attributes").is_some() {
                body["attributes"] = parsed(c, "--attributes")?;
            }
            s.create(c, "subscriptions", &body)
        }
    ),
    command!("topic-delete", DELETE, true, |s, c| s.delete(c, "topics")),
    command!("destination-delete", DELETE, true, |s, c| s
        .delete(c, "destinations")),
    command!("subscription-delete", DELETE, true, |s, c| s
        .delete(c, "subscriptions")),
];

fn parsed(call: &Call, flag: &str) -> Result<Value, Problem> {
    let text = call.flag(flag).unwrap_or_default();
    serde_json::from_str(text).map_err(|why| Problem::Failed(format!("{flag}: no JSON: {why}")))
}

impl Session<'_> {
    fn one_of(&self, call: &Call, collection: &str) -> Outcome {
        let path = self.door(call, collection)? + "/" + call.flag("--id").unwrap_or_default();
        let found = self
            .rest
            .call(Door::EventNotifications, "GET", &path, None)?;
        shown(call, "json", &found)
    }

    /// The path of a collection, if the command is led to the right instance.
    fn door(&self, call: &Call, collection: &str) -> Result<String, Problem> {
        let guid = call.flag("--instance-id").unwrap_or_default();
        self.instance("event-notifications", guid)?;
        let region = self.account.instances.iter().find(|i| i.guid == guid);
        let region = region.map(|i| i.region.as_str()).unwrap_or_default();
        let right =
            format!("https://{region}.event-notifications.cloud.ibm.com/event-notifications");
        let led = match self.variables.get("IBMCLOUD_EN_ENDPOINT") {
            Some(endpoint) => *endpoint == right,
            None => self.state.region.as_deref() == Some(region),
        };
        if !led {
            return failed("The endpoint of Event Notifications is another region's.");
        }
        Ok(format!("/v1/instances/{guid}/{collection}"))
    }

    fn list_of(&self, call: &Call, collection: &str) -> Outcome {
        let path = self.door(call, collection)?;
        let mut found = self
            .rest
            .call(Door::EventNotifications, "GET", &path, None)?;
        if collection == "topics" {
            // lists have the number of sources of a topic, not the sources
            for topic in found["topics"].as_array_mut().into_iter().flatten() {
                let count = topic["sources"].as_array().map_or(0, Vec::len);
                topic["source_count"] = count.into();
                topic.as_object_mut().map(|topic| topic.remove("sources"));
            }
        }
        let Value::Array(all) = found[collection].take() else {
            return failed(format!("no {collection}: {found}"));
        };
        let number = |flag: &str, default| match call.flag(flag).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => failed(format!("{flag}: a number")),
        };
        let (limit, offset) = (number("--limit", 10)?, number("--offset", 0)?);
        let all = all.into_iter().skip(offset).take(limit.min(100)).collect();
        shown_list(self, call, "json", Some(collection), collection, all)
    }

    fn create(&self, call: &Call, collection: &str, body: &Value) -> Outcome {
        let path = self.door(call, collection)?;
        let made = self
            .rest
            .call(Door::EventNotifications, "POST", &path, Some(body))?;
        shown(call, "json", &made)
    }

    fn delete(&self, call: &Call, collection: &str) -> Outcome {
        let path = self.door(call, collection)? + "/" + call.flag("--id").unwrap_or_default();
        self.rest
            .call(Door::EventNotifications, "DELETE", &path, None)?;
        Ok("OK\n".into())
    }
}
