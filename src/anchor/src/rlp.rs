//! RLP (Ethereum yellow paper, appendix B), writing only.

/// Appends a string of bytes.
pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes {
        [byte] if *byte < 0x80 => out.push(*byte),
        _ => {
            header(out, 0x80, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

/// Appends a number: its bytes without leading zeros, none for 0.
pub(crate) fn number(out: &mut Vec<u8>, number: u128) {
    bytes(out, significant(&number.to_be_bytes()));
}

/// A list of items that are encoded already.
pub(crate) fn list(items: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.len() + 9);
    header(&mut out, 0xc0, items.len());
    out.extend_from_slice(items);
    out
}

/// Big-endian bytes without leading zeros.
pub(crate) fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn header(out: &mut Vec<u8>, kind: u8, length: usize) {
    if length < 56 {
        out.push(kind + length as u8);
    } else {
        let length = length.to_be_bytes();
        let length = significant(&length);
        out.push(kind + 55 + length.len() as u8);
        out.extend_from_slice(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(string: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        bytes(&mut out, string);
        out
    }

    /// Examples of the Ethereum wiki, and both sides of each boundary.
    #[test]
    fn known_encodings() {
        assert_eq!(encoded(b"dog"), b"\x83dog");
        assert_eq!(encoded(b""), [0x80]);
        assert_eq!(encoded(&[0]), [0]);
        assert_eq!(encoded(&[0x7f]), [0x7f]);
        assert_eq!(encoded(&[0x80]), [0x81, 0x80]);
        assert_eq!(encoded(&[7; 55])[..2], [0x80 + 55, 7]);
        assert_eq!(encoded(&[7; 56])[..3], [0xb8, 56, 7]);
        assert_eq!(encoded(&[7; 1024])[..4], [0xb9, 4, 0, 7]);
        assert_eq!(list(&[]), [0xc0]);
        assert_eq!(list(&[encoded(b"cat"), encoded(b"dog")].concat()), b"\xc8\x83cat\x83dog");
        assert_eq!(list(&[1; 56])[..3], [0xf8, 56, 1]);
        for (n, wanted) in [(0, &[0x80][..]), (15, &[15]), (1024, &[0x82, 4, 0])] {
            let mut out = Vec::new();
            number(&mut out, n);
            assert_eq!(out, wanted);
        }
    }
}
