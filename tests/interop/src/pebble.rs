//! Pebble as CA, and the ACME client that orders from it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use instant_acme::{Account, AuthorizationStatus, ChallengeType, Identifier};
use instant_acme::{NewAccount, NewOrder, OrderStatus, RetryPolicy};
use local_cloud::Material;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SignatureAlgorithm};

use crate::clients::{END, words};
use crate::{Process, await_line, bounded, free_port, self_signed, succeed, write};

/// A running CA; ends when dropped.
pub(crate) struct Pebble {
    account: Account,
    root: String,
    runtime: tokio::runtime::Runtime,
    _process: Process,
}

impl Pebble {
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = self_signed("127.0.0.1")?;
        let certificate = write(folder, "pebble.crt", &certificate)?;
        let key = write(folder, "pebble.key", &key)?;
        let (api, management) = (free_port()?, free_port()?);
        let configuration = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": free_port()?,
            "tlsPort": free_port()?,
        }});
        let configuration = write(folder, "pebble.json", &configuration.to_string())?;
        // Names are not what is tested here: every challenge counts as met. Some nonces are
        // refused, and finished authorizations are not reused, as in pebble's defaults.
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(configuration);
        pebble.envs([("PEBBLE_VA_ALWAYS_VALID", "1"), ("PEBBLE_VA_NOSLEEP", "1")]);
        pebble.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process(pebble.spawn().context("start pebble")?);
        let log = process.0.stdout.take().context("pebble's log")?;
        await_line(log, "ACME directory available at").context("pebble does not start")?;

        let mut curl = bounded("curl");
        let arguments = "--silent --show-error --fail --retry-connrefused --retry 5 --cacert";
        curl.args(words(arguments)).arg(&certificate);
        curl.arg(format!("https://127.0.0.1:{management}/roots/0"));
        let root = succeed(&mut curl)?;

        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build()?;
        let account =
            NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
        let directory = format!("https://127.0.0.1:{api}/dir");
        let account = runtime.block_on(async {
            let builder = Account::builder_with_root(&certificate)?;
            builder.create(&account, directory, None).await
        });
        let (account, _) = account.context("ACME account")?;
        Ok(Self { account, root, runtime, _process: process })
    }

    /// The root, which no client knows.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// One order, from the first request to the chain.
    pub(crate) fn issue(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
    ) -> anyhow::Result<Material> {
        let key = KeyPair::generate_for(algorithm)?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut request = CertificateParams::new(names.clone())?;
        request.distinguished_name = DistinguishedName::new();
        let request = request.serialize_request(&key)?;
        let identifiers: Vec<_> = names.into_iter().map(Identifier::Dns).collect();
        let order = self.order(&identifiers, request.der());
        let chain = self.runtime.block_on(order)?;

        let (leaf, intermediates) = chain.split_once(END).context("an empty chain")?;
        ensure!(intermediates.contains(END), "pebble sent no intermediate");
        Ok(Material {
            certificate: Some(format!("{leaf}{END}")),
            intermediate: Some(intermediates.trim_start().to_owned()),
            private_key: Some(key.serialize_pem()),
            ..Material::default()
        })
    }

    async fn order(&self, identifiers: &[Identifier], request: &[u8]) -> anyhow::Result<String> {
        let mut order = self.account.new_order(&NewOrder::new(identifiers)).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(ChallengeType::Http01);
            let mut challenge = challenge.context("no http-01 challenge")?;
            challenge.set_ready().await?;
        }
        let state = order.poll_ready(&RetryPolicy::default()).await?;
        ensure!(state == OrderStatus::Ready, "the order is {state:?}");
        order.finalize_csr(request).await?;
        Ok(order.poll_certificate(&RetryPolicy::default()).await?)
    }
}
