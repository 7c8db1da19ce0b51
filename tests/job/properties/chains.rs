use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, date_time_ymd,
};
use rustls_pki_types::{PrivatePkcs8KeyDer, UnixTime};

/// When all this is judged: 2026-10-01.
pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_790_812_800))
}

/// A chain to be made. Level 0 is the leaf, above it stand the intermediates, then the root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) intermediates: usize,
    pub(crate) with_root: bool,
    pub(crate) flaws: Vec<(usize, Flaw)>,
    /// The certificate of this level is there a second time, issued earlier and without its flaws.
    pub(crate) twin: Option<usize>,
    /// A chain of somebody else lies among it.
    pub(crate) stranger: bool,
}

/// What can be wrong with one certificate, or looks as if it were.
#[derive(Clone, Debug)]
pub(crate) enum Flaw {
    Expired,
    NotYetValid,
    WrongKind,
    ForClients,
    Nameless,
    NoPathBelow,
    ForeignNamesOnly,
    MayNotSign,
    UnknownCritical,
    Named(String),
}

/// Blocks of PEM, leaf first, and the leaf's key.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) blocks: Vec<String>,
    pub(crate) key: String,
}

/// Ed25519 keys that are the same in every run (PKCS#8, RFC 8410 section 7): nothing to store, and
/// signatures too are the same.
pub(crate) fn key(level: u8) -> KeyPair {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    // bytes without a rhythm, so that their base64 has none either
    der.extend(
        (0..32_u8).map(|at| at.wrapping_mul(197) ^ at.rotate_left(3) ^ level.wrapping_mul(89)),
    );
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).unwrap()
}

impl Plan {
    pub(crate) fn made(&self) -> Made {
        let mut blocks = Vec::new();
        self.issue(0, "", &mut blocks);
        if self.stranger {
            let other = Self {
                intermediates: 1,
                with_root: true,
                ..Self::default()
            };
            other.issue(100, "Other ", &mut blocks);
        }
        Made {
            blocks,
            key: key(0).serialize_pem(),
        }
    }

    fn issue(&self, first_key: u8, prefix: &str, blocks: &mut Vec<String>) {
        let top = self.intermediates + 1;
        let key = |level: usize| key(first_key + u8::try_from(level).unwrap());
        let last = if self.with_root {
            top
        } else {
            self.intermediates
        };
        for level in 0..=last {
            let issuer = (level + 1).min(top);
            let issuer = Issuer::new(self.params(issuer, prefix, true), key(issuer));
            let flawed = self.params(level, prefix, true);
            blocks.push(flawed.signed_by(&key(level), &issuer).unwrap().pem());
            if self.twin == Some(level) {
                let mut twin = self.params(level, prefix, false);
                twin.not_before = date_time_ymd(2026, 2, 1);
                blocks.push(twin.signed_by(&key(level), &issuer).unwrap().pem());
            }
        }
    }

    fn params(&self, level: usize, prefix: &str, flawed: bool) -> CertificateParams {
        let mut params = if level == 0 {
            let names = ["shop.example.com", "*.shop.example.com"].map(str::to_owned);
            CertificateParams::new(names).unwrap()
        } else {
            CertificateParams::default()
        };
        params.not_before = date_time_ymd(2026, 3, 1);
        params.not_after = date_time_ymd(2027, 3, 1);
        if level > 0 {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{prefix}{level}"));
        for (_, flaw) in self.flaws.iter().filter(|(at, _)| *at == level) {
            // a twin has the same name, whatever that is
            if flawed || matches!(flaw, Flaw::Named(_)) {
                flaw.put_into(&mut params);
            }
        }
        params
    }
}

impl Flaw {
    fn put_into(&self, params: &mut CertificateParams) {
        match self {
            Self::Expired => params.not_after = date_time_ymd(2026, 9, 1),
            Self::NotYetValid => params.not_before = date_time_ymd(2026, 11, 1),
            Self::WrongKind => {
                params.is_ca = match params.is_ca {
                    IsCa::Ca(_) => IsCa::ExplicitNoCa,
                    _ => IsCa::Ca(BasicConstraints::Unconstrained),
                }
            }
            Self::ForClients => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]
            }
            Self::Nameless => params.subject_alt_names.clear(),
            Self::NoPathBelow => {
                if let IsCa::Ca(constraints) = &mut params.is_ca {
                    *constraints = BasicConstraints::Constrained(0);
                }
            }
            Self::ForeignNamesOnly => {
                if matches!(params.is_ca, IsCa::Ca(_)) {
                    params.name_constraints = Some(NameConstraints {
                        permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
                        excluded_subtrees: Vec::new(),
                    });
                }
            }
            Self::MayNotSign => params.key_usages = vec![KeyUsagePurpose::CrlSign],
            Self::UnknownCritical => {
                let mut unknown =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
                unknown.set_criticality(true);
                params.custom_extensions.push(unknown);
            }
            Self::Named(name) => params
                .distinguished_name
                .push(DnType::CommonName, name.as_str()),
        }
    }
}
