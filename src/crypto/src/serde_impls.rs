//! Ids and signatures in messages: hex text in a human-readable format, raw bytes otherwise.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{BatchId, FieldToken, PrincipalId, RecordId, Signature, Term};

struct Hex<'b>(&'b [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::ids::write_hex(f, self.0)
    }
}

fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    if s.is_human_readable() { s.collect_str(&Hex(bytes)) } else { s.serialize_bytes(bytes) }
}

struct Fixed<const N: usize> {
    text: bool,
}

impl<const N: usize> serde::de::Visitor<'_> for Fixed<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.text { write!(f, "{} hex digits", 2 * N) } else { write!(f, "{N} bytes") }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; N], E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Other("text of another form"), &self);
        let digits = text.as_bytes();
        if digits.len() != 2 * N {
            return Err(wrong());
        }
        let mut out = [0; N];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| (d as char).to_digit(16).and_then(|v| u8::try_from(v).ok());
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return Err(wrong()) };
            *byte = high << 4 | low;
        }
        Ok(out)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<[u8; N], D::Error> {
    if d.is_human_readable() {
        d.deserialize_str(Fixed { text: true })
    } else {
        d.deserialize_bytes(Fixed { text: false })
    }
}

macro_rules! as_bytes {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                serialize(&self.0, s)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                deserialize(d).map(Self)
            }
        }
    )*};
}

as_bytes!(PrincipalId RecordId BatchId FieldToken Term Signature);
