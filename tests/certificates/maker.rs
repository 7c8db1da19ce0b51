//! The one maker of certificates: sound ones, and those that no CA would issue.
//!
//! A certificate is a line such as `shop < CA expired`: its subject, who signs it, and words about it.
//! A subject in lower case is a server, any other a CA. The name also names the key, unless a colon
//! and another key follow: `CA:new < CA:old`. A key such as `shop:p384.pem` is that file of this
//! folder, any other is new. An underscore in a name stands for a space.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::UnixTime;

/// `ecdsa-with-SHA256` and `sha256WithRSAEncryption`.
const ALGORITHMS: [&[u8]; 2] = [
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
];

/// A certificate, and its private key.
pub(crate) struct Cert {
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
    /// PEM.
    pub(crate) key: String,
}

/// Makes certificates; each gets the next serial number, from 1 on.
pub(crate) struct Maker {
    now: UnixTime,
    /// By their names.
    pub(crate) keys: HashMap<String, Rc<KeyPair>>,
    serial: u8,
}

impl Maker {
    pub(crate) fn new(now: UnixTime) -> Self {
        Self { now, keys: HashMap::new(), serial: 0 }
    }

    /// The key of this name.
    pub(crate) fn key(&mut self, name: &str) -> Rc<KeyPair> {
        let made = || match name.ends_with(".pem") {
            true => KeyPair::from_pem(&stored(name)).unwrap(),
            false => KeyPair::generate().unwrap(),
        };
        let key = self.keys.entry(name.to_owned());
        Rc::clone(key.or_insert_with(|| Rc::new(made())))
    }

    pub(crate) fn make(&mut self, line: &str) -> Cert {
        self.make_with(line, |_| {})
    }

    /// The certificate of this line with a change that no word says.
    pub(crate) fn make_with(
        &mut self,
        line: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Cert {
        let (subject, rest) = line.split_once(" < ").unwrap();
        let mut words = rest.split(' ');
        let (issuer, issuer_key) = self.entity(words.next().unwrap());
        let (mut params, key) = self.entity(subject);
        let own_name = format!("{}.example.com", subject.split(':').next().unwrap());
        let mut names = own_name.as_str();
        if !subject.starts_with(|c: char| c.is_lowercase()) {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            names = "";
        }
        self.serial += 1;
        params.serial_number = Some(vec![self.serial].into());
        let (mut begin, mut end, mut algorithm) = ("-100d", "100d", None);
        for word in words.filter(|word| !word.is_empty()) {
            match word.split_once(':').unwrap_or((word, "")) {
                ("names", given) => names = given,
                ("since", time) => begin = time,
                ("until", time) => end = time,
                ("older", _) => begin = "-200d",
                ("early", _) => begin = "1s",
                ("expired", _) => end = "-1s",
                // the certificate names another algorithm than the one that it is signed with
                ("sha1", _) => algorithm = Some(5),
                ("unverifiable", _) => algorithm = Some(1),
                (word, value) => put(&mut params, word, value),
            }
        }
        let at = |text| rcgen::date_time_ymd(1970, 1, 1) + self.since_1970(text);
        (params.not_before, params.not_after) = (at(begin), at(end));
        let names: Vec<String> = names.split_terminator(',').map(str::to_owned).collect();
        params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
        change(&mut params);
        let issuer = Issuer::from_params(&issuer, &*issuer_key);
        let mut der = params.signed_by(&*key, &issuer).unwrap().der().to_vec();
        if let Some(algorithm) = algorithm {
            rename_algorithm(&mut der, algorithm);
        }
        Cert { pem: pem(&der), der, key: key.serialize_pem() }
    }

    /// What `name` or `name:key` stands for.
    fn entity(&mut self, text: &str) -> (CertificateParams, Rc<KeyPair>) {
        let (name, key) = text.split_once(':').unwrap_or((text, text));
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = name.replace('_', " ");
        params.distinguished_name.push(DnType::CommonName, name);
        (params, self.key(key))
    }

    /// The time of a text in days, hours or seconds from now: `-100d`, `36h`, `1s`.
    fn since_1970(&self, text: &str) -> Duration {
        let (number, unit) = text.split_at(text.len() - 1);
        let unit = match unit {
            "d" => 24 * 60 * 60,
            "h" => 60 * 60,
            _ => 1,
        };
        let seconds = number.parse::<i64>().unwrap() * unit;
        Duration::from_secs(self.now.as_secs().checked_add_signed(seconds).unwrap())
    }
}

fn put(params: &mut CertificateParams, word: &str, value: &str) {
    let ca = |limit| IsCa::Ca(BasicConstraints::Constrained(limit));
    let purposes = &mut params.extended_key_usages;
    match word {
        "ca" => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        "no-ca" => params.is_ca = IsCa::ExplicitNoCa,
        "cas-below" => params.is_ca = ca(value.parse().unwrap()),
        "for-any" => purposes.push(ExtendedKeyUsagePurpose::Any),
        "for-clients" => purposes.push(ExtendedKeyUsagePurpose::ClientAuth),
        "for-servers" => purposes.push(ExtendedKeyUsagePurpose::ServerAuth),
        "signs" => params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
        "signs-lists" => params.key_usages = vec![KeyUsagePurpose::CrlSign],
        "own-id" => params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]),
        "names-id" => params.use_authority_key_identifier_extension = true,
        "serial" => params.serial_number = Some(vec![value.parse().unwrap()].into()),
        "long-serial" => params.serial_number = Some(vec![1; 21].into()),
        "stamps" => {
            let id = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
            let stamps = CustomExtension::from_oid_content(&id, vec![4, 2, 0, 0]);
            params.custom_extensions.push(stamps);
        }
        word => panic!("{word}"),
    }
}

/// The signature stays what it is.
fn rename_algorithm(der: &mut [u8], last: u8) {
    for at in 0..der.len() {
        for algorithm in ALGORITHMS {
            if der[at..].starts_with(algorithm) {
                der[at + algorithm.len() - 1] = last;
            }
        }
    }
}

fn pem(der: &[u8]) -> String {
    let body = BASE64_STANDARD.encode(der);
    let lines = body.as_bytes().chunks(64);
    let lines: Vec<&str> = lines.map(|line| str::from_utf8(line).unwrap()).collect();
    let body = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// A file of this folder.
pub(crate) fn stored(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}
