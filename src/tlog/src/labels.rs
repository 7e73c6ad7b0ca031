//! Every fixed string and number that separates one signed or hashed thing from another.

/// Between a key's name and what else its id is hashed over (signed-note, "Signatures").
pub(crate) const KEY_ID_SEPARATOR: u8 = b'\n';

/// Begins a signature line: an em dash and a space (signed-note, "Format").
pub(crate) const SIGNATURE_LINE: &str = "\u{2014} ";

/// Begins the text form of a signing key, so that nobody takes it for the public one.
pub(crate) const PRIVATE_KEY: &str = "PRIVATE+KEY+";

/// Signature type of a plain Ed25519 signature over a note's text (signed-note, "Signature types").
pub(crate) const ED25519: u8 = 0x01;

/// Signature type of a timestamped Ed25519 cosignature (tlog-cosignature).
pub(crate) const COSIGNATURE_V1: u8 = 0x04;

/// First line of the message that a cosignature signs (tlog-cosignature, "Ed25519 signed message").
pub(crate) const COSIGNATURE_HEADER: &str = "cosignature/v1";
