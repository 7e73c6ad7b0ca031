//! One signature line.

use std::fmt;

use super::{KeyId, KeyName};
use crate::{base64, labels};

/// A signature with the name and id of its key, not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: KeyId,
    bytes: Vec<u8>,
}

impl NoteSignature {
    pub(crate) fn new(name: KeyName, id: KeyId, bytes: Vec<u8>) -> Self {
        Self { name, id, bytes }
    }

    /// Name of the key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Id of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The signature without the id, at least one byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a line without its newline; any signature type.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(labels::SIGNATURE_LINE)?.split_once(' ')?;
        let decoded = base64::decode(encoded)?;
        let (id, bytes) = decoded.split_first_chunk::<4>()?;
        let id = KeyId(u32::from_be_bytes(*id));
        (!bytes.is_empty()).then_some(Self { name: KeyName::new(name).ok()?, id, bytes: bytes.into() })
    }
}

/// The line without its newline.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = base64::encode(&[&self.id.0.to_be_bytes()[..], &self.bytes].concat());
        write!(f, "{}{} {encoded}", labels::SIGNATURE_LINE, self.name)
    }
}
