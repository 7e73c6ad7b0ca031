//! What makes a signed document acceptable. Each rule reads the state it is checked against and the
//! document, and nothing else; heavy checks (signatures, points) run before the store's transaction,
//! the rest inside it.

pub mod erasures;
pub mod grants;
pub mod groups;
pub mod mandates;
pub mod owners;
pub mod revocations;
pub mod roster;

use sealdex_wire::limits;

/// Whether a section, purpose or domain name has an acceptable length.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=limits::NAME).contains(&text.len())
}

/// Whether a section's name fits routing tags: at most [`limits::SECTION`] bytes, no white space at its end.
pub(crate) fn is_section(text: &str) -> bool {
    (1..=limits::SECTION).contains(&text.len())
        && text.is_ascii()
        && text.trim_end() == text
        && !text.contains(char::is_control)
}

/// Whether a document's time lies further ahead than clocks may differ. Milliseconds.
pub(crate) fn is_future(at: u64, now: u64) -> bool {
    at > now.saturating_add(limits::CLOCK_SKEW_MS)
}
