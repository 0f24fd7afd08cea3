//! Doors for the fuzz targets: documents are read and written again, with nothing verified.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::binding::BindingBody;
use super::document::{self, Statement};

/// Reads a binding; returns what its parts make when they are written again.
pub fn binding(bytes: &[u8]) -> Option<Bytes> {
    rewritten::<BindingBody>(bytes)
}

/// As [`binding`], for a certificate.
pub fn certificate(bytes: &[u8]) -> Option<Bytes> {
    rewritten::<super::certificate::CertificateBody>(bytes)
}

/// As [`binding`], for a revocation.
pub fn revocation(bytes: &[u8]) -> Option<Bytes> {
    rewritten::<super::revocation::RevocationBody>(bytes)
}

fn rewritten<T: Statement + DeserializeOwned>(bytes: &[u8]) -> Option<Bytes> {
    let opened = document::open::<T>(bytes).ok()?;
    Some(document::seal(&opened.statement, |_, _| opened.signature))
}
