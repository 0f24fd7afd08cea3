//! The two back-ends of `crypto` agree on whatever bytes a peer sends.

use std::sync::LazyLock;

use x0x_core::crypto::Backend;
use x0x_core::crypto::native::Native;
use x0x_core::crypto::reference::Reference;
use x0x_core::crypto::signature::{SIGNATURE_LEN, VERIFYING_KEY_LEN};

use crate::input::Input;

/// Both accept a signature or both refuse it.
pub fn signature(data: &[u8]) {
    let mut input = Input::new(data);
    let key = input.array::<VERIFYING_KEY_LEN>();
    let signature = input.array::<SIGNATURE_LEN>();
    let message = input.rest();
    let native = Native::verify(&key, message, &signature);
    assert_eq!(native, Reference::verify(&key, message, &signature), "the back-ends disagree");
}

type Key<B> = <B as Backend>::DecapsulationKey;

/// One key in both back-ends.
static KEYS: LazyLock<(Key<Reference>, Key<Native>)> = LazyLock::new(|| {
    let seed = &[7; 64];
    (Reference::decapsulation_key(seed).0, Native::decapsulation_key(seed).0)
});

/// Both take a key or both refuse it, and both make the same secret and ciphertext; both get the
/// same secret out of any ciphertext.
pub fn kem(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        let key = input.array();
        let sound = Reference::is_encapsulation_key(&key);
        assert_eq!(sound, Native::is_encapsulation_key(&key), "the back-ends disagree");
        if sound {
            let message = input.array();
            let made = Reference::encapsulate(&key, &message);
            assert_eq!(made, Native::encapsulate(&key, &message));
        }
    } else {
        let ciphertext = input.array();
        let (reference, native) = &*KEYS;
        let secret = Reference::decapsulate(reference, &ciphertext);
        assert_eq!(secret, Native::decapsulate(native, &ciphertext));
    }
}
