//! The routes that faults and journal name, as `METHOD /path/template`.

/// IAM: a token.
pub const TOKEN: &str = "POST /identity/token";
/// Secrets Manager: all secrets, without their payload.
pub const LIST_SECRETS: &str = "GET /api/v2/secrets";
/// Secrets Manager: a secret with its payload.
pub const READ_SECRET: &str = "GET /api/v2/secrets/{id}";
/// Secrets Manager: one version with its payload.
pub const READ_VERSION: &str = "GET /api/v2/secrets/{id}/versions/{version}";
/// Secrets Manager: one version without its payload.
pub const READ_VERSION_METADATA: &str = "GET /api/v2/secrets/{id}/versions/{version}/metadata";
/// Code Engine: all secrets of a project, of every format.
pub const LIST_TLS_SECRETS: &str = "GET /v2/projects/{project_id}/secrets";
/// Code Engine: a secret.
pub const READ_TLS_SECRET: &str = "GET /v2/projects/{project_id}/secrets/{name}";
/// Code Engine: replace a secret.
pub const REPLACE_TLS_SECRET: &str = "PUT /v2/projects/{project_id}/secrets/{name}";
/// Code Engine: all domain mappings.
pub const LIST_DOMAIN_MAPPINGS: &str = "GET /v2/projects/{project_id}/domain_mappings";
/// Code Engine: all apps.
pub const LIST_APPS: &str = "GET /v2/projects/{project_id}/apps";
/// Code Engine: an app.
pub const READ_APP: &str = "GET /v2/projects/{project_id}/apps/{name}";
/// Code Engine: change an app.
pub const PATCH_APP: &str = "PATCH /v2/projects/{project_id}/apps/{name}";
/// Code Engine: submit a job run.
pub const SUBMIT_JOB_RUN: &str = "POST /v2/projects/{project_id}/job_runs";
