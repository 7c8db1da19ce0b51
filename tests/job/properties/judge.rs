use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sm_tls_sync::cert::certificate::{Certificate, Signature};
use sm_tls_sync::cert::key::PrivateKey;
use sm_tls_sync::config::Config;
use sm_tls_sync::error::{Error, Reason};
use sm_tls_sync::sync::assemble::{Bundle, assemble};
use sm_tls_sync::sync::fetch::Material;
use sm_tls_sync::sync::validate::{Plan, Trigger};

/// No sentence is longer: a few texts from outside, each cut, and our own words.
const LONGEST_TEXT: usize = 8000;
/// A piece of a key of this length in a message is a leak.
const PIECE: usize = 16;

/// One line that looks like what it is: no control characters, nothing that reorders or hides text
/// (Unicode's property `Bidi_Control`, zero-width and line separators), and an end.
#[track_caller]
pub(crate) fn text(text: &str) {
    let risky = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(risky), "for a log line: {text:?}");
    assert!(text.len() <= LONGEST_TEXT, "{} bytes: {text}", text.len());
}

/// Whatever an event says: only UUIDs of configured secrets and configured places come out of it
/// (they are all that goes into a URL), and every text is fit for a log line.
#[track_caller]
pub(crate) fn order(config: &Config, result: &Result<Plan, Error>) {
    if let Some(id) = Trigger::read(&config.settings).id {
        text(&id);
    }
    let order = match result {
        Ok(order) => order,
        Err(error) => return text(&error.to_string()),
    };
    for pair in &order.tasks {
        let id = pair.secret.to_string();
        assert!(is_uuid(&id), "{id}");
        let configured = config.targets.iter().any(|target| {
            let (configured, secret) = (&target.tls_secret, target.secret.as_ref());
            *configured == pair.target.tls_secret && secret.is_none_or(|id| *id == pair.secret)
        });
        assert!(configured, "nobody configured {pair:?}");
    }
    for outcome in &order.settled {
        let id = outcome.secret_id.as_deref();
        assert!(id.is_none_or(is_uuid), "{id:?}");
        assert!(outcome.tls_secret.is_none());
        assert!(outcome.findings.is_empty());
        text(&outcome.message);
        if let Some(name) = &outcome.secret_name {
            text(name);
        }
    }
}

/// The one form of an id that goes into a URL.
pub(crate) fn is_uuid(id: &str) -> bool {
    let shape = |(position, c): (usize, char)| match position {
        8 | 13 | 18 | 23 => c == '-',
        _ => matches!(c, '0'..='9' | 'a'..='f'),
    };
    id.len() == 36 && id.chars().enumerate().all(shape)
}

/// What the job would write: everything that it does to material before a write.
///
/// # Errors
/// Those of the steps.
pub(crate) fn accepted(material: &Material, now: UnixTime) -> Result<Bundle, Error> {
    let mut bundle = assemble(material, now)?;
    // nothing is deployed that would excuse it
    if let Some(fault) = bundle.faults.first() {
        return Err(Reason::Unfit.error(fault.to_string()));
    }
    bundle.findings.extend(bundle.rehearse(&bundle.certificate_pem(), now)?);
    Ok(bundle)
}

/// Whatever the material is: no message holds a piece of `keys` (PEM), and what is accepted is the
/// material's own and a chain that a TLS client accepts at `now`.
#[track_caller]
pub(crate) fn assembled(
    material: &Material,
    keys: &[String],
    now: UnixTime,
    result: &Result<Bundle, Error>,
) {
    let messages: Vec<String> = match result {
        Ok(bundle) => bundle.findings.iter().map(|f| f.message.clone()).collect(),
        Err(error) => vec![error.to_string()],
    };
    for message in &messages {
        shows_no_key(message, keys);
        // a chain may be drawn as a tree: its lines are ours, none comes from a name
        for (position, line) in message.split('\n').enumerate() {
            text(line);
            let ours = line.starts_with("  <- ") || line.contains(" (serial ");
            assert!(position == 0 || ours, "{message}");
        }
    }
    if let Ok(bundle) = result {
        is_the_materials_own(bundle, material);
        // without its issuer nobody can verify it, without the algorithm we cannot
        let unverifiable = [Reason::ChainGap, Reason::ChainUnverified];
        if !bundle.findings.iter().any(|f| unverifiable.contains(&f.reason)) {
            a_client_accepts(bundle, material, now);
        }
    }
}

/// A message as it stands, and without white space: a key's lines could be joined.
#[track_caller]
fn shows_no_key(message: &str, keys: &[String]) {
    let squeezed: String = message.split_whitespace().collect();
    for key in keys {
        let body: String = key.lines().filter(|l| !l.starts_with("-----")).collect();
        for piece in body.as_bytes().windows(PIECE) {
            let piece = std::str::from_utf8(piece).unwrap();
            assert!(!squeezed.contains(piece), "a piece of the key: {message}");
        }
    }
}

/// Nothing is made up: every certificate and the key stand in the material, and belong together.
#[track_caller]
fn is_the_materials_own(bundle: &Bundle, material: &Material) {
    let given = certificates_of(material);
    let served: Vec<_> = CertificateDer::pem_slice_iter(bundle.certificate_pem().as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let chain = bundle.chain();
    assert_eq!(served, chain.map(|c| c.der.clone()).collect::<Vec<_>>());
    assert!(served.iter().all(|der| given.iter().any(|c| c.der == *der)));

    let given = PrivateKey::from_pem(material.key.expose()).unwrap();
    assert_eq!(given.public, bundle.leaf.public_key);
    assert_eq!(*given.to_pem(), bundle.key_pem.expose());
    let key = PrivateKeyDer::from_pem_slice(bundle.key_pem.expose().as_bytes()).unwrap();
    let key = default_provider().key_provider.load_private_key(key).unwrap();
    CertifiedKey::new(served, key).keys_match().unwrap();
}

/// Path validation as in rustls' client, to the material's own root where that is in it, else to
/// the last certificate of the chain.
#[track_caller]
fn a_client_accepts(bundle: &Bundle, material: &Material, now: UnixTime) {
    let Some(anchors) = anchors(bundle, material) else {
        assert!(bundle.intermediates.is_empty());
        return;
    };
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor.der).unwrap();
    }
    let intermediates: Vec<_> = bundle.intermediates.iter().map(|c| c.der.clone()).collect();
    let algorithms = default_provider().signature_verification_algorithms.all;
    let verified = ParsedCertificate::try_from(&bundle.leaf.der).and_then(|leaf| {
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &intermediates, now, algorithms)
    });
    if let Err(e) = verified {
        panic!("webpki: {e:?}\n{}", bundle.certificate_pem());
    }
}

/// What the chain ends in: a root of the material, or else its last certificate. None where nothing
/// is left to verify: a self-signed leaf, and a leaf whose root alone is there, but in a state that no
/// client could take it for one (they have their own copy).
fn anchors(bundle: &Bundle, material: &Material) -> Option<Vec<Certificate>> {
    if bundle.leaf.self_signed() {
        return None;
    }
    let top = bundle.intermediates.last().unwrap_or(&bundle.leaf);
    let named: Vec<Certificate> = certificates_of(material)
        .into_iter()
        .filter(|c| c.self_signed() && c.subject == top.issuer)
        .collect();
    let signed = |a: &Certificate, b: &Certificate| a.signed_by(b) == Signature::Verified;
    let (sound, damaged): (Vec<_>, Vec<_>) = named.into_iter().partition(|c| {
        let readable = RootCertStore::empty().add(c.der.clone()).is_ok();
        readable && (signed(c, c) || signed(top, c))
    });
    match (sound.is_empty(), bundle.intermediates.is_empty()) {
        (false, _) => Some(sound),
        (true, true) if !damaged.is_empty() => None,
        _ => Some(vec![top.clone()]),
    }
}

fn certificates_of(material: &Material) -> Vec<Certificate> {
    let texts = material.certificates.iter().map(|(_, text)| text);
    texts.flat_map(|text| Certificate::all_in(text)).filter_map(Result::ok).collect()
}
