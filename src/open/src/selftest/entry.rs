//! Reading the fields of an entry: every absence, wrong type and wrong length is a message that
//! names the field.

use sealdex_crypto::{Point, Scalar};
use serde_json::Value;

/// An object of the file.
pub(super) struct Entry<'a>(&'a Value);

impl<'a> Entry<'a> {
    pub(super) fn new(value: &'a Value) -> Self {
        Self(value)
    }

    pub(super) fn value(&self, name: &str) -> Result<&'a Value, String> {
        self.0.get(name).ok_or_else(|| format!("field {name} is missing"))
    }

    pub(super) fn object(&self, name: &str) -> Result<Entry<'a>, String> {
        match self.value(name)? {
            value @ Value::Object(_) => Ok(Entry(value)),
            _ => Err(format!("field {name} is not an object")),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], String> {
        match self.value(name)? {
            Value::Array(values) => Ok(values),
            _ => Err(format!("field {name} is not a list")),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, String> {
        text(name, self.value(name)?)
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        bytes(name, self.value(name)?)
    }

    pub(super) fn array<const N: usize>(&self, name: &str) -> Result<[u8; N], String> {
        array(name, self.value(name)?)
    }

    pub(super) fn bytes_list(&self, name: &str) -> Result<Vec<Vec<u8>>, String> {
        let values = self.list(name)?;
        values.iter().map(|value| bytes(name, value)).collect()
    }

    pub(super) fn scalar(&self, name: &str) -> Result<Scalar, String> {
        scalar(name, self.value(name)?)
    }

    pub(super) fn scalars(&self, name: &str) -> Result<Vec<Scalar>, String> {
        let values = self.list(name)?;
        values.iter().map(|value| scalar(name, value)).collect()
    }

    pub(super) fn point(&self, name: &str) -> Result<Point, String> {
        point(name, self.value(name)?)
    }

    pub(super) fn points(&self, name: &str) -> Result<Vec<Point>, String> {
        let values = self.list(name)?;
        values.iter().map(|value| point(name, value)).collect()
    }

    /// An integer, as a JSON number or a decimal string.
    pub(super) fn u64(&self, name: &str) -> Result<u64, String> {
        integer(name, self.value(name)?)
    }

    pub(super) fn u32(&self, name: &str) -> Result<u32, String> {
        narrow(name, self.u64(name)?)
    }

    pub(super) fn u8(&self, name: &str) -> Result<u8, String> {
        narrow(name, self.u64(name)?)
    }
}

/// Compares with the known answer.
pub(super) fn same(what: &str, found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        let (found, expected) = (hex::encode(found), hex::encode(expected));
        Err(format!("{what} is {found}, should be {expected}"))
    }
}

/// Compares integers and the like with the known answer.
pub(super) fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, should be {expected:?}")) }
}

/// Compares a secret with the known answer; neither is printed.
pub(super) fn same_secret(what: &str, found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is not the one expected")) }
}

/// Turns a failed operation into a failure of the entry.
pub(super) fn done<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Demands that something be refused.
pub(super) fn refused(what: &str, refused: bool) -> Result<(), String> {
    if refused { Ok(()) } else { Err(format!("{what} is accepted and should not be")) }
}

pub(super) fn integer(name: &str, value: &Value) -> Result<u64, String> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits
            .parse()
            .ok()
            // One spelling a number: no sign, no leading zero.
            .filter(|number: &u64| number.to_string() == *digits),
        _ => None,
    };
    number.ok_or_else(|| format!("field {name} is not a non-negative integer"))
}

pub(super) fn narrow<T: TryFrom<u64>>(name: &str, value: u64) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("field {name} is too large: {value}"))
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("field {name} is not a string"))
}

fn bytes(name: &str, value: &Value) -> Result<Vec<u8>, String> {
    hex::decode(text(name, value)?).map_err(|error| format!("field {name} is not hex: {error}"))
}

fn array<const N: usize>(name: &str, value: &Value) -> Result<[u8; N], String> {
    let bytes = bytes(name, value)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| format!("field {name} has {found} bytes, should have {N}"))
}

fn scalar(name: &str, value: &Value) -> Result<Scalar, String> {
    done(name, Scalar::from_bytes(&array(name, value)?))
}

fn point(name: &str, value: &Value) -> Result<Point, String> {
    done(name, Point::from_bytes(&bytes(name, value)?))
}
