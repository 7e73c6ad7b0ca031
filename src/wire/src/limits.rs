//! Bounds on everything that comes from the network. A message beyond them is refused before use.

/// Largest request or response body, bytes.
pub const BODY: usize = 64 << 20;
/// Largest control-plane (JSON) body, bytes.
pub const CONTROL_BODY: usize = 32 << 20;
/// Most records in one batch.
pub const BATCH_RECORDS: usize = 8192;
/// Most capsules in one batch.
pub const BATCH_CAPSULES: usize = 8192;
/// Largest sealed record, bytes.
pub const SEALED: usize = 48 << 20;
/// Most index entries of one record.
pub const RECORD_ENTRIES: usize = 4096;
/// Largest routing tag, bytes.
pub const TAG: usize = 512;
/// Deepest nesting of clauses in a query.
pub const CLAUSE_DEPTH: usize = 12;
/// Most leaves (tokens, ranges) in a query, before the gate unfolds scopes.
pub const CLAUSE_LEAVES: usize = 8192;
/// Most leaves the cloud evaluates, after the gate has unfolded scopes.
pub const CLOUD_LEAVES: usize = 262_144;
/// Most matches in one page, gate to user and cloud to gate.
pub const PAGE: u32 = 16_384;
/// Most records fetched with one ticket.
pub const TICKET_RECORDS: usize = 1024;
/// Most documents in one control-plane request.
pub const DOCUMENTS: usize = 4096;
/// Longest section name, bytes. Names are padded to this in routing tags, so that a tag's length does not tell
/// its section.
pub const SECTION: usize = 32;
/// Longest purpose or domain name, bytes.
pub const NAME: usize = 128;
/// Deepest CBOR nesting the decoder follows.
pub const CBOR_DEPTH: usize = 64;
/// How far a request's clock may be from the server's, milliseconds.
pub const CLOCK_SKEW_MS: u64 = 120_000;
/// How long a ticket is good for, milliseconds.
pub const TICKET_MS: u64 = 60_000;
/// Most bridged tokens of one turn.
pub const TURN_POINTS: usize = 65_536;
/// Most members of a group.
pub const GROUP_MEMBERS: usize = 4096;
/// Sections that one order to erase names.
pub const ERASED_SECTIONS: usize = 256;
/// Orders to erase that one owner has in force.
pub const ERASURE_ORDERS: usize = 64;
/// Records to erase in one message.
pub const ERASURES: usize = 4096;
/// Longest text people write: reasons, names.
pub const TEXT: usize = 1024;
/// Grants of one section and epoch to one reader, for different purposes or providers.
pub const GRANT_SLOTS: usize = 16;
/// Providers that one grant names.
pub const GRANT_PROVIDERS: usize = 64;
/// Members and groups that may wake one emergency grant.
pub const WAKERS: usize = 32;
/// Longest an emergency grant is awake, minutes.
pub const EMERGENCY_MINUTES: u32 = 7 * 24 * 60;
/// Unanswered requests of one member to one owner, and of all to one owner.
pub const REQUESTS: [usize; 2] = [8, 256];
/// Groups one member manages.
pub const MANAGED_GROUPS: usize = 256;
/// Members that providers enrolled below themselves, in a domain.
pub const FAMILY: usize = 65_536;
/// Requests of one member to one owner that are kept, answered ones included.
pub const KEPT_REQUESTS: usize = 256;
/// Emergencies of one owner and reader that wait for a second person.
pub const OPEN_WAKES: usize = 64;
/// Longest entry of the log of acts, bytes; longer acts are split.
pub const ACT_ENTRY: usize = 60_000;
/// Most entries of the log of acts in one request, and most bytes of them.
pub const ACT_ENTRIES: [usize; 2] = [256, 8 << 20];
/// Auditors of a domain beside the authority.
pub const AUDITORS: usize = 8;
