//! Every domain-separation label of the suite. A label is written here and nowhere else; no two
//! constructions share one unless the specification makes them share it.

/// Section 2: the encryption scalar of an identity.
pub const IDENTITY_ENC: &str = "sdx1/identity/enc";
/// Section 2: the signing scalar of an identity.
pub const IDENTITY_SIGN: &str = "sdx1/identity/sign";
/// Section 2: prefix of the hash that makes a principal id.
pub const PRINCIPAL: &str = "sdx1/principal";
/// Section 2 (BIP-340): tag of the challenge of a signature.
pub const BIP340_CHALLENGE: &[u8] = b"BIP0340/challenge";
/// Section 3: a section's secret scalar.
pub const SECTION: &str = "sdx1/section";
/// Section 3: the seed of one section, from an owner's root.
pub const SECTION_SEED: &str = "sdx1/section-seed";
/// Section 4: capsule key from the shared point.
pub const CAPSULE: &str = "sdx1/capsule";
/// Section 5: the scalar `d` that links a grant to its reader.
pub const REKEY: &str = "sdx1/rekey";
/// A secret wrapped for the holder of a key.
pub const WRAP: &str = "sdx1/wrap";
/// Rows of a public log for one reader.
pub const ROW: &str = "sdx1/row";
/// Section 5: challenge of the proof that the gate used the granted scalar.
pub const DLEQ: &str = "sdx1/dleq";
/// Threshold gate: weights of the points that one proof is about.
pub const DLEQ_BATCH: &str = "sdx1/dleq/batch";
/// Section 7: AEAD key of one record.
pub const RECORD: &str = "sdx1/record";
/// Section 7: first bytes of every record header.
pub const RECORD_MAGIC: &[u8; 4] = b"SDX1";
/// Section 8: key of a scope's terms and tags.
pub const SCOPE: &str = "sdx1/scope";
/// Section 8: prefix of the message of a term.
pub const TERM: &[u8] = b"sdx1/term";
/// Section 8a: key of a field's inner tokens; also of field tokens (section 9).
pub const TOKEN: &str = "sdx1/token";
/// Section 8b: RFC 9380 domain separation tag of bridged tokens.
pub const TOKEN_DST: &[u8] = b"SDX1-TOKEN-with-secp256k1_XMD:SHA-256_SSWU_RO_";
/// Section 9: key of an order walk, inner and outer.
pub const MOPSE: &str = "sdx1/mopse";
/// Section 9: the reserved field name under which fields themselves become tokens.
pub const FIELD: &str = "sdx1/field";
/// Section 9: first byte of every message of an order walk.
pub const WALK_NODE: u8 = b'n';
/// Section 9: prefix of the message of an order tag.
pub const TAG: &[u8] = b"sdx1/tag";
/// Section 10: what a field's name gets appended when its cover tokens are made.
pub const COVER_SUFFIX: &str = "#cover";
/// Section 11 (RFC 6962): first byte of a hashed leaf.
pub const LOG_LEAF: u8 = 0x00;
/// Section 11 (RFC 6962): first byte of a hashed inner node.
pub const LOG_NODE: u8 = 0x01;
