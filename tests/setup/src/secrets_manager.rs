//! `secrets-manager`.

use serde_json::{Value, json};

use crate::account::Instance;
use crate::rest::Door;
use crate::session::{Command, Problem, Session, failed, shown, shown_list};
use crate::table::Call;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "secrets-manager secrets",
        words: 0,
        required: &[],
        switches: &[],
        changes: false,
        run: |session, call| {
            session.reach(call)?;
            let all = session.rest.call(
                Door::SecretsManager,
                "GET",
                "/api/v2/secrets?limit=1000",
                None,
            )?;
            let wanted = |flag: &str, is: &Value| {
                let is = is.as_str().unwrap_or_default();
                call.flag(flag)
                    .is_none_or(|list| list.split(',').any(|one| one == is))
            };
            let all = all["secrets"].as_array().into_iter().flatten();
            let found = all.filter(|secret| {
                wanted("--secret-types", &secret["secret_type"])
                    && wanted("--groups", &secret["secret_group_id"])
            });
            let found = found.cloned().collect();
            shown_list(session, call, "json", Some("secrets"), "secrets", found)
        },
    },
    // in a command that the job's `--check` prints
    Command {
        name: "secrets-manager secret-metadata",
        words: 0,
        required: &["--id"],
        switches: &[],
        changes: false,
        run: |session, call| {
            session.reach(call)?;
            let id = call.flag("--id").unwrap_or_default();
            let path = format!("/api/v2/secrets/{id}/metadata");
            let found = session
                .rest
                .call(Door::SecretsManager, "GET", &path, None)?;
            shown(call, "json", &found)
        },
    },
    Command {
        name: "secrets-manager notifications-registration",
        words: 0,
        required: &[],
        switches: &[],
        changes: false,
        run: |session, call| {
            session.reach(call)?;
            let path = "/api/v2/notifications/registration";
            let found = session.rest.call(Door::SecretsManager, "GET", path, None)?;
            shown(call, "json", &found)
        },
    },
    Command {
        name: "secrets-manager notifications-registration-create",
        words: 0,
        required: &[
            "--event-notifications-instance-crn",
            "--event-notifications-source-name",
        ],
        switches: &[],
        changes: true,
        run: |session, call| {
            let secrets_manager = session.reach(call)?;
            let crn = call
                .flag("--event-notifications-instance-crn")
                .unwrap_or_default();
            let target = crn.split(':').nth(7).unwrap_or_default();
            let roles = ["Event Source Manager"];
            if !session.is_authorized("secrets-manager", "event-notifications", target, &roles) {
                return failed(format!(
                    "{secrets_manager} is not authorized at Event Notifications."
                ));
            }
            let body = json!({
                "event_notifications_instance_crn": crn,
                "event_notifications_source_name": call.flag("--event-notifications-source-name"),
            });
            let path = "/api/v2/notifications/registration";
            let made = session
                .rest
                .call(Door::SecretsManager, "POST", path, Some(&body))?;
            shown(call, "json", &made)
        },
    },
    Command {
        name: "secrets-manager notifications-registration-delete",
        words: 0,
        required: &[],
        switches: &[],
        changes: true,
        run: |session, call| {
            session.reach(call)?;
            let path = "/api/v2/notifications/registration";
            session
                .rest
                .call(Door::SecretsManager, "DELETE", path, None)?;
            Ok("OK\n".into())
        },
    },
];

impl Session<'_> {
    /// Which instance the command asks, if this machine can reach it.
    fn reach(&self, call: &Call) -> Result<String, Problem> {
        let set = self
            .variables
            .get("SECRETS_MANAGER_URL")
            .map(String::as_str);
        let Some(url) = call.flag("--service-url").or(set) else {
            return failed("The service URL is not set.");
        };
        let addresses = |instance: &Instance| {
            ["", ".private"].map(|network| {
                let (guid, region) = (&instance.guid, &instance.region);
                format!("https://{guid}{network}.{region}.secrets-manager.appdomain.cloud")
            })
        };
        let mut all = self.account.instances.iter();
        let instance = all.find(|instance| {
            instance.service == "secrets-manager"
                && addresses(instance).iter().any(|one| one == url)
        });
        let is_reached = if url.contains(".private.") {
            self.account.private_network
        } else {
            self.account.secrets_manager_public
        };
        match instance {
            Some(instance) if is_reached => Ok(instance.guid.clone()),
            _ => failed(format!("dial tcp: lookup {url}: no such host")),
        }
    }
}
