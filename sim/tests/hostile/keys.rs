//! Keys that are not the expected ones, keys of others, and cryptography that nobody agreed to.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureAlgorithm, SignatureScheme};
use x0x_core::identity::MachineId;
use x0x_core::link::ConnectError;
use x0x_core::node::{Connect, Reply, Target};

use super::arena::{Arena, FRIEND, HOSTILE, Identity, SECOND, VICTIM};
use super::attacker::transport;
use x0x_core::link;

/// Has the victim dial the attacker's address; returns why there is no link.
fn dial_attacker(arena: &mut Arena, machine: Option<MachineId>) -> ConnectError {
    let target = Target::Address { address: arena.world.address(HOSTILE), machine };
    let connect = Connect { target, keep: false, timeout: 5 * SECOND };
    let id = arena.world.command(VICTIM, connect).unwrap();
    arena.run(8 * SECOND);
    match arena.world.reply(id) {
        Some(Reply::Link(link::Reply::Connect(Err(error)))) => *error,
        reply => panic!("no error: {reply:?}"),
    }
}

#[test]
fn a_peer_with_another_key_than_the_dialled_one_gets_no_link() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    arena.attack(|attacker, _| {
        let tls = attacker.tls(&identity.machine);
        attacker.serve(tls.server, transport());
    });
    let before = arena.usage();
    let other = Identity::new(2).machine.id();
    assert_eq!(dial_attacker(&mut arena, Some(other)), ConnectError::Timeout);
    assert!(arena.count(link::Counter::HandshakesFailed) > 0);
    assert_eq!(arena.count(link::Counter::LinksUp), 1);
    arena.run(60 * SECOND);
    assert_eq!(arena.usage(), before);
    arena.unharmed();
}

#[test]
fn a_peer_that_shows_a_stolen_key_gets_no_link() {
    let mut arena = Arena::new(1);
    let thief = arena.identity(1);
    let friend = arena.world.node_config(FRIEND).machine_key.clone();
    let other = Identity::new(2).machine;
    // The key of a friend that has a link, and the key of somebody else.
    for (number, stolen) in (1..).zip([friend, other.clone()]) {
        let target = arena.world.address(VICTIM);
        let link = arena.attack(|attacker, now| {
            let tls = attacker.tls(&thief.machine);
            let shown = combine(&attacker.tls(&stolen).client, &tls.client);
            let mut client = (*tls.client).clone();
            client.client_auth_cert_resolver =
                Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(shown));
            attacker.dial_with(now, target, Arc::new(client), transport())
        });
        arena.run(SECOND);
        assert!(arena.look(|a| a.link(link).lost.is_some()));
        assert_eq!(arena.count(link::Counter::HandshakesFailed), number);
    }
    arena.attack(|attacker, _| {
        let tls = attacker.tls(&thief.machine);
        let shown = combine(&attacker.tls(&other).client, &tls.client);
        let mut server = (*tls.server).clone();
        server.cert_resolver =
            Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(shown));
        attacker.serve(Arc::new(server), transport());
    });
    assert_eq!(dial_attacker(&mut arena, Some(other.id())), ConnectError::Timeout);
    assert_eq!(dial_attacker(&mut arena, None), ConnectError::Timeout);
    assert_eq!(arena.count(link::Counter::LinksUp), 1);
    arena.unharmed();
}

/// What one shows, signed by another.
fn combine(shown: &ClientConfig, signer: &ClientConfig) -> Arc<CertifiedKey> {
    let resolve =
        |config: &ClientConfig| config.client_auth_cert_resolver.resolve(&[], &[]).unwrap();
    let (shown, signer) = (resolve(shown), resolve(signer));
    Arc::new(CertifiedKey::new(shown.cert.clone(), Arc::clone(&signer.key)))
}

#[test]
fn cryptography_that_nobody_agreed_to_gets_no_link() {
    let mut arena = Arena::new(1);
    let identity = arena.identity(1);
    let own = arena.look(|attacker| attacker.tls(&identity.machine).client);
    let with = |change: fn(&mut ClientConfig)| {
        let mut client = (*own).clone();
        change(&mut client);
        client
    };
    let classical = CryptoProvider {
        kx_groups: vec![ring::kx_group::X25519, ring::kx_group::SECP256R1],
        ..(**own.crypto_provider()).clone()
    };
    let cases = [
        ("a key exchange without ML-KEM", rebuilt(&own, classical)),
        ("another protocol", with(|client| client.alpn_protocols = vec![b"h3".to_vec()])),
        ("no protocol", with(|client| client.alpn_protocols.clear())),
        ("a signature of another scheme", showing(&own, ed25519())),
    ];
    for (number, (name, client)) in (1..).zip(cases) {
        let target = arena.world.address(VICTIM);
        let link = arena
            .attack(|attacker, now| attacker.dial_with(now, target, Arc::new(client), transport()));
        arena.run(SECOND);
        assert!(arena.look(|a| a.link(link).lost.is_some()), "{name}");
        assert_eq!(arena.count(link::Counter::HandshakesFailed), number, "{name}");
    }
    arena.run(10 * SECOND);
    assert_eq!(arena.usage().connections, 1);
    arena.unharmed();
}

/// A client with another provider that accepts every server.
fn rebuilt(own: &ClientConfig, provider: CryptoProvider) -> ClientConfig {
    let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_client_cert_resolver(Arc::clone(&own.client_auth_cert_resolver));
    client.alpn_protocols.clone_from(&own.alpn_protocols);
    client.enable_sni = false;
    client
}

fn showing(own: &ClientConfig, key: CertifiedKey) -> ClientConfig {
    let mut client = own.clone();
    client.client_auth_cert_resolver =
        Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(Arc::new(key)));
    client
}

/// A good key of a kind that the network does not use.
fn ed25519() -> CertifiedKey {
    const PKCS8_PREFIX: [u8; 16] =
        [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = PrivatePkcs8KeyDer::from([PKCS8_PREFIX.as_slice(), &[9; 32]].concat());
    let key = ring::sign::any_eddsa_type(&key).unwrap();
    let public = CertificateDer::from(key.public_key().unwrap().to_vec());
    CertifiedKey::new(vec![public], Arc::new(Stubborn(key)))
}

/// Signs with its own scheme, whatever the peer offers.
#[derive(Debug)]
struct Stubborn(Arc<dyn SigningKey>);

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[SignatureScheme::ED25519])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Accepts every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_65, SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
