//! Sixteen-byte public identifiers. All are printed and parsed as 32 lower-case hex digits.

use std::fmt;
use std::str::FromStr;

/// Text that is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 32 characters.
    #[error("an id is 32 hex digits, this has {0} characters")]
    Length(usize),
    /// A character that is no hex digit, at this position.
    #[error("an id is 32 hex digits, character {0} is none")]
    NotHex(usize),
}

pub(crate) fn write_hex(out: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn parse_hex16(text: &str) -> Result<[u8; 16], IdError> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return Err(IdError::Length(text.chars().count()));
    }
    let digit = |at: usize| match digits[at] {
        byte @ b'0'..=b'9' => Ok(byte - b'0'),
        byte @ b'a'..=b'f' => Ok(byte - b'a' + 10),
        byte @ b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(IdError::NotHex(at)),
    };
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = digit(2 * at)? << 4 | digit(2 * at + 1)?;
    }
    Ok(bytes)
}

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(out, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(out, &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex16(text).map(Self)
            }
        }
    };
}

public_id!(
    /// Names a patient, provider, user, gate or cloud by its keys (section 2).
    PrincipalId
);
public_id!(
    /// Names a sealed record: 16 unique bytes, random or UUIDv7 (section 7).
    RecordId
);
public_id!(
    /// Names an upload batch, so that sending it again changes nothing.
    BatchId
);
public_id!(
    /// What the cloud stores and searches: a term (section 8) or an order term (section 9).
    Term
);
public_id!(
    /// What the gate sees in place of a field's name (section 9).
    FieldToken
);
