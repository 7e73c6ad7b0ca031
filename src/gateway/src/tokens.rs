//! What the gateway hands out and takes back: values in links, authenticated by a key that follows from the
//! member's own, so that links outlive a restart and nobody can make one up.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sealdex_crypto::kdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::labels;

/// Length of the check in a link, bytes.
const CHECK: usize = 16;

/// Key of links. Wiped on drop.
pub struct LinkKey(Zeroizing<[u8; 32]>);

impl LinkKey {
    /// From the member's identity seed.
    pub fn derive(seed: &[u8; 32]) -> Self {
        Self(kdf(labels::LINKS, seed, &[]))
    }

    /// Keyed hash of parts, each with its length.
    pub fn hash(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block(&self.0).into());
        for part in std::iter::once(&label.as_bytes()).chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// A value for a link: readable by anyone, made by nobody else, good in this context only.
    pub fn seal(&self, label: &str, context: &[u8], value: &[u8]) -> String {
        let check = self.hash(label, &[context, value]);
        URL_SAFE_NO_PAD.encode([&check[..CHECK], value].concat())
    }

    /// The value of a link this gateway made.
    pub fn open(&self, label: &str, context: &[u8], text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (check, value) = bytes.split_at_checked(CHECK)?;
        let expected = self.hash(label, &[context, value]);
        bool::from(expected[..CHECK].ct_eq(check)).then(|| value.to_vec())
    }
}

/// HMAC pads keys shorter than a block with zeros, so this is the same key.
fn block(key: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_where_and_as_it_was_made() {
        let key = LinkKey::derive(&[7; 32]);
        let link = key.seal("page", b"Patient?x=1", b"value");
        assert_eq!(
            LinkKey::derive(&[7; 32]).open("page", b"Patient?x=1", &link).as_deref(),
            Some(&b"value"[..]),
            "after a restart"
        );
        assert_eq!(key.open("page", b"Patient?x=2", &link), None);
        assert_eq!(key.open("file", b"Patient?x=1", &link), None);
        assert_eq!(LinkKey::derive(&[8; 32]).open("page", b"Patient?x=1", &link), None);
        for n in 0..link.len() {
            let mut bent = link.clone().into_bytes();
            bent[n] = if bent[n] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open("page", b"Patient?x=1", std::str::from_utf8(&bent).unwrap()), None, "character {n}");
        }
        assert_eq!(key.open("page", b"", ""), None);
        assert_eq!(key.open("page", b"", "%%%"), None);
    }
}
