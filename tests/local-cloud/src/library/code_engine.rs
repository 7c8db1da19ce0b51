//! Projects and their contents.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::runs::literals;
use crate::store::{Kind, Project, Resource, Store, new_id, object};
use crate::{AppFate, CloudHandle, Environment, Serving, code_engine, domains, world};

/// The current state of a TLS secret.
#[derive(Clone, Eq, PartialEq, Serialize)]
pub struct TlsSecret {
    /// `data.tls_cert`.
    pub tls_cert: String,
    /// `data.tls_key`.
    pub tls_key: String,
    /// The bare tag.
    pub entity_tag: String,
    /// `tls`, or another one by a test's wish.
    pub format: String,
    /// `user` or `system`.
    pub generated_by: String,
    /// How often it was written, creation included.
    pub writes: u64,
}

impl TlsSecret {
    fn of(store: &Store, project_id: &str, name: &str) -> Option<Self> {
        let secret = store.projects.get(project_id)?.get(Kind::Secret, name)?;
        let data = |key| secret.data(key).unwrap_or_default().to_owned();
        let text = |field| secret.text(field).unwrap_or_default().to_owned();
        Some(Self {
            tls_cert: data("tls_cert"),
            tls_key: data("tls_key"),
            entity_tag: secret.entity_tag.clone(),
            format: text("format"),
            generated_by: text("generated_by"),
            writes: secret.writes,
        })
    }
}

/// How a job runs.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// `run_compute_resource_token_enabled`.
    pub token_enabled: bool,
    /// `scale_array_spec`.
    pub array_spec: String,
    /// `scale_retry_limit`.
    pub retry_limit: u32,
    /// Name of a config map whose keys become variables.
    pub config_map: Option<String>,
}

impl Default for JobSettings {
    /// As the README of the job recommends: token on, one instance, no retry.
    fn default() -> Self {
        Self { token_enabled: true, array_spec: "0".into(), retry_limit: 0, config_map: None }
    }
}

/// Code Engine.
impl CloudHandle {
    /// A new project; the world's profile gets no policy for it (see `grant`).
    pub fn create_project(&self, name: &str, region: &str) -> String {
        let id = new_id();
        self.cloud.update(|store| world::add_project(store, &id, name, region));
        id
    }

    /// CRN of a project, as links name it.
    pub fn project_crn(&self, project_id: &str) -> String {
        self.project(project_id, |project| self.cloud.world.crn_of(project))
    }

    /// The current state of a TLS secret.
    pub fn tls_secret(&self, project_id: &str, name: &str) -> Option<TlsSecret> {
        let find = |store: &mut Store| TlsSecret::of(store, project_id, name);
        self.cloud.update(find)
    }

    /// A TLS secret as soon as it is another one than `before`; `None`: not in time.
    pub fn await_tls_secret(
        &self,
        project_id: &str,
        name: &str,
        before: &TlsSecret,
        timeout: Duration,
    ) -> Option<TlsSecret> {
        self.cloud.wait(timeout, |store| {
            TlsSecret::of(store, project_id, name).filter(|now| now != before)
        })
    }

    /// Writes a TLS secret as a person would manually: created, or replaced under a new entity tag.
    pub fn put_tls_secret(&self, project_id: &str, name: &str, cert: &str, key: &str) {
        let data = json!({ "tls_cert": cert, "tls_key": key });
        self.put_secret(project_id, name, "tls", "user", data);
    }

    /// Any secret, also what the API would refuse: another format, `generated_by: system`.
    pub fn put_secret(
        &self,
        project_id: &str,
        name: &str,
        format: &str,
        generated_by: &str,
        data: Value,
    ) {
        let fields = json!({ "format": format, "generated_by": generated_by, "data": data });
        self.put(project_id, Kind::Secret, name, fields);
    }

    /// Deploys what Secrets Manager holds into a TLS secret: leaf, then intermediates, then key.
    pub fn deploy(&self, secret_id: &str, project_id: &str, name: &str) {
        let material = self.material(secret_id);
        let key = material.key().expect("a key").to_owned();
        let chain = material.certificate.expect("a certificate");
        let mut chain = chain.trim_end().to_owned() + "\n";
        if chain.matches("BEGIN").count() == 1 {
            let issuer = material.intermediate.or(material.issuing_ca);
            chain += &issuer.unwrap_or_default();
        }
        self.put_tls_secret(project_id, name, &chain, &key);
    }

    /// A config map.
    pub fn put_config_map(&self, project_id: &str, name: &str, data: &Environment) {
        self.put(project_id, Kind::ConfigMap, name, json!({ "data": data }));
    }

    /// A domain mapping to the app `shop`.
    pub fn map_domain(&self, project_id: &str, domain: &str, tls_secret: &str) {
        self.map_domain_with(project_id, domain, json!({ "tls_secret": tls_secret }));
    }

    /// A domain mapping with any fields: `tls_secret`, `component`, `user_managed`, `visibility`,
    /// `cname_target`, `status`, ….
    pub fn map_domain_with(&self, project_id: &str, domain: &str, fields: Value) {
        let component = json!({ "name": "shop", "resource_type": "app_v2" });
        let mapping = with(json!({ "component": component }), fields);
        self.put(project_id, Kind::DomainMapping, domain, mapping);
    }

    /// What a mapping serves from now on when its TLS secret is replaced.
    pub fn set_serving(&self, project_id: &str, domain: &str, serving: Serving) {
        self.serve(project_id, domain, serving, None);
    }

    /// A mapping serves this, whatever its TLS secret holds, until `set_serving`.
    pub fn serve_instead(&self, project_id: &str, domain: &str, cert: &str, key: &str) {
        let pair = domains::Pair {
            tag: String::new(),
            tls_cert: cert.to_owned(),
            tls_key: key.to_owned(),
        };
        self.serve(project_id, domain, Serving::Never, Some(pair));
    }

    fn serve(&self, project: &str, domain: &str, serving: Serving, pair: Option<domains::Pair>) {
        self.resource(project, Kind::DomainMapping, domain, |_| ());
        let serve = |store: &mut _| domains::set_serving(store, project, domain, serving, pair);
        self.cloud.update(serve);
    }

    /// An app; `fields` as in the API's body: `run_env_variables`, `run_volume_mounts`, ….
    pub fn create_app(&self, project_id: &str, name: &str, fields: Value) {
        let image = json!({ "image_reference": "icr.io/local-cloud/app" });
        let app = with(image, fields);
        self.put(project_id, Kind::App, name, app);
    }

    /// An app as the API shows it; this does not count as a read.
    pub fn app(&self, project_id: &str, name: &str) -> Option<Value> {
        self.project(project_id, |project| {
            let app = project.get(Kind::App, name)?;
            Some(code_engine::document(&self.cloud, project, Kind::App, name, app).into())
        })
    }

    /// How many revisions an app ever got.
    pub fn app_revisions(&self, project_id: &str, name: &str) -> u32 {
        self.resource(project_id, Kind::App, name, |app| app.revisions.created)
    }

    /// Decides what becomes of the app's next revisions, and of one that is being deployed.
    pub fn set_app_fate(&self, project_id: &str, name: &str, fate: AppFate) {
        self.resource(project_id, Kind::App, name, |app| {
            let options = &self.cloud.options;
            app.revisions.decide(fate);
            app.revisions.show(options, name, &mut app.fields);
        });
    }

    /// A job whose program is the one given at start.
    pub fn create_job(
        &self,
        project_id: &str,
        name: &str,
        environment: &Environment,
        settings: &JobSettings,
    ) {
        let mut variables = literals(environment);
        if let Some(reference) = &settings.config_map {
            variables.push(json!({ "type": "config_map_full_reference", "reference": reference }));
        }
        let job = json!({
            "image_reference": "icr.io/local-cloud/sm-tls-sync:latest",
            "run_compute_resource_token_enabled": settings.token_enabled,
            "run_env_variables": variables,
            "scale_array_spec": settings.array_spec,
            "scale_cpu_limit": "0.125",
            "scale_memory_limit": "0.25G",
            "scale_max_execution_time": 300,
            "scale_retry_limit": settings.retry_limit,
        });
        self.put(project_id, Kind::Job, name, job);
    }

    pub(super) fn project<R>(&self, id: &str, look: impl FnOnce(&mut Project) -> R) -> R {
        self.cloud.update(|store| {
            let project = store.projects.get_mut(id);
            look(project.unwrap_or_else(|| panic!("there is no project {id}")))
        })
    }

    fn resource<R>(
        &self,
        project_id: &str,
        kind: Kind,
        name: &str,
        look: impl FnOnce(&mut Resource) -> R,
    ) -> R {
        self.project(project_id, |project| {
            let found = project.get_mut(kind, name);
            look(found.unwrap_or_else(|| panic!("there is no {kind:?} {name}")))
        })
    }

    /// Created, or written over with nothing asked.
    fn put(&self, project_id: &str, kind: Kind, name: &str, fields: Value) {
        let fields = object(fields);
        self.project(project_id, |project| match project.get_mut(kind, name) {
            Some(found) => {
                code_engine::remember(&self.cloud, &fields);
                found.fields.extend(fields);
                found.entity_tag = self.cloud.next_tag();
                found.writes += 1;
            }
            None => code_engine::put_new(&self.cloud, project, kind, name, fields)
                .unwrap_or_else(|why| panic!("{name}: {why:?}")),
        });
    }
}

/// An object with further fields; the further ones win.
fn with(value: Value, fields: Value) -> Value {
    let mut all = object(value);
    all.extend(object(fields));
    all.into()
}
