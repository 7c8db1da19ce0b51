//! What creation and rotation do, whoever asks: the API, the library, a test.

use super::Store;
use crate::Cloud;
use crate::authority::{CertificateSpec, Material};
use crate::clock::now;
use crate::store::{Secret, Version, new_id};

/// A new secret with its first version. An error says status and reason.
pub(crate) fn add(
    cloud: &Cloud,
    store: &mut Store,
    spec: &CertificateSpec,
    supplied: Option<Material>,
    created_by: &str,
) -> Result<String, (u16, String)> {
    let name = if spec.name.is_empty() {
        let first = spec.names.first().map_or("secret", String::as_str);
        first.replace('*', "wildcard").replace('.', "-")
    } else {
        spec.name.clone()
    };
    let taken = |s: &Secret| s.name == name && s.secret_type == spec.secret_type;
    if store.secrets.values().any(taken) {
        return Err((409, format!("A secret with the name {name} already exists")));
    }
    let group = spec
        .secret_group_id
        .clone()
        .unwrap_or_else(|| cloud.default_group.clone());
    if !store.secret_groups.contains_key(&group) {
        return Err((404, format!("There is no secret group {group}")));
    }
    let material = match supplied {
        Some(material) => material,
        None => cloud
            .authority
            .issue(spec, None)
            .map_err(|e| (400, format!("{e:#}")))?,
    };
    remember(store, &material);
    let id = new_id();
    let mut secret = Secret {
        id: id.clone(),
        name,
        description: String::new(),
        secret_type: spec.secret_type,
        secret_group_id: group,
        labels: Vec::new(),
        state: 1,
        created_at: now(),
        created_by: created_by.to_owned(),
        updated_at: now(),
        retrieved_at: None,
        spec: spec.clone(),
        versions: Vec::new(),
    };
    secret.push(Version::new(material, false));
    store.secrets.insert(id.clone(), secret);
    Ok(id)
}

/// A new version: issued as the secret's spec says, or supplied.
pub(crate) fn rotate(
    cloud: &Cloud,
    store: &mut Store,
    id: &str,
    supplied: Option<Material>,
    auto_rotated: bool,
) -> Result<(), String> {
    let Some(secret) = store.secrets.get(id) else {
        return Err(format!("no secret {id}"));
    };
    let material = match supplied {
        Some(material) => material,
        None => {
            let kept = secret
                .current()
                .and_then(|version| version.material.as_ref());
            let kept = kept.and_then(|material| {
                material
                    .private_key
                    .as_ref()
                    .or(material.managed_csr_private_key.as_ref())
            });
            let key = if secret.spec.rotate_keys {
                None
            } else {
                kept.map(String::as_str)
            };
            cloud
                .authority
                .issue(&secret.spec, key)
                .map_err(|error| format!("{error:#}"))?
        }
    };
    remember(store, &material);
    let secret = store
        .secrets
        .get_mut(id)
        .expect("found under the same lock");
    secret.push(Version::new(material, auto_rotated));
    secret.state = 1;
    Ok(())
}

/// Keys go onto the list for leak searches.
pub(crate) fn remember(store: &mut Store, material: &Material) {
    let keys = [
        &material.private_key,
        &material.managed_csr_private_key,
        &material.payload,
    ];
    for key in keys.into_iter().flatten() {
        store.remember(key);
    }
}
