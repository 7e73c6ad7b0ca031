//! CBOR and JSON, and fixed-length byte strings that are hex in JSON and raw bytes in CBOR.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::limits;

/// Why bytes did not decode.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// The body is not the CBOR of the expected message.
    #[error("the body is not a valid CBOR message of this kind: {0}")]
    Cbor(String),
    /// The body is not the JSON of the expected message.
    #[error("the body is not a valid JSON message of this kind: {0}")]
    Json(String),
    /// Bytes follow the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// Encodes as CBOR. Our own types always encode.
pub fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    to_cbor_of(value, 0)
}

/// As [`to_cbor`], of what takes `about` so many bytes: a message of megabytes that outgrows its memory again and again
/// costs more in copies and fresh pages than in encoding.
#[allow(clippy::expect_used)] // writing to a Vec cannot fail and no type here has a failing Serialize
pub fn to_cbor_of<T: Serialize>(value: &T, about: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(about);
    ciborium::into_writer(value, &mut out).expect("encoding to memory");
    out
}

/// Decodes one CBOR message that must fill `bytes`.
pub fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, limits::CBOR_DEPTH)
        .map_err(|e| CodecError::Cbor(short(e)))?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Trailing(rest.len())) }
}

/// Encodes as JSON text.
#[allow(clippy::expect_used)] // as to_cbor
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("encoding to memory")
}

/// Decodes one JSON message.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    serde_json::from_slice(bytes).map_err(|e| CodecError::Json(short(e)))
}

/// An error text that cannot grow with hostile input.
fn short(e: impl std::fmt::Display) -> String {
    let mut s = e.to_string();
    if s.len() > 200 {
        let cut = (0..=200).rev().find(|i| s.is_char_boundary(*i)).unwrap_or(0);
        s.truncate(cut);
    }
    s
}

/// A fixed-length public byte string with hex text form.
macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.serialize_str(&hex::encode(self.0)) } else { s.serialize_bytes(&self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                deserialize_fixed(d).map(Self)
            }
        }
    };
}

/// Hex text in a human-readable format, a byte string otherwise; the length must be exact.
pub(crate) fn deserialize_fixed<'de, D: serde::Deserializer<'de>, const N: usize>(d: D) -> Result<[u8; N], D::Error> {
    use serde::de::Error;
    if d.is_human_readable() {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        let mut out = [0; N];
        hex::decode_to_slice(text.as_bytes(), &mut out)
            .map_err(|_| D::Error::custom(format_args!("expected {} hex digits", 2 * N)))?;
        Ok(out)
    } else {
        let bytes = serde_bytes::ByteBuf::deserialize(d)?;
        <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| D::Error::custom(format_args!("expected {N} bytes")))
    }
}

fixed_bytes!(
    /// A compressed point as it came, not yet decoded or checked.
    RawPoint, 33
);
fixed_bytes!(
    /// 32 public bytes: a hash, an x-only key, an inner token.
    B32, 32
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_bytes_are_hex_in_json_and_bytes_in_cbor() {
        let v = B32([7; 32]);
        assert_eq!(to_json(&v), format!("\"{}\"", "07".repeat(32)));
        assert_eq!(from_json::<B32>(to_json(&v).as_bytes()), Ok(v));
        assert_eq!(to_cbor(&v).len(), 34);
        assert_eq!(from_cbor::<B32>(&to_cbor(&v)), Ok(v));
        assert!(from_cbor::<RawPoint>(&to_cbor(&v)).is_err());
        assert!(from_json::<B32>(b"\"07\"").is_err());
    }

    #[test]
    fn trailing_and_deep_cbor_is_refused() {
        let mut bytes = to_cbor(&B32([1; 32]));
        bytes.push(0);
        assert_eq!(from_cbor::<B32>(&bytes), Err(CodecError::Trailing(1)));
        let deep = vec![0x81_u8; 1 << 20];
        assert!(from_cbor::<ciborium::Value>(&deep).is_err());
    }
}
