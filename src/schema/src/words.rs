//! Words of a text, for keyword search.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;

/// The words of a text: runs of ASCII letters and digits, and runs of Unicode letters and digits after
/// NFC, both in lower case. The two differ only where a text leaves ASCII; indexing both lets `Treviño`
/// be found as a whole while plain-ASCII matching finds what it would.
pub fn words(text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    collect(text, &mut out);
    out
}

pub(crate) fn collect(text: &str, out: &mut BTreeSet<String>) {
    let ascii = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    out.extend(ascii.map(str::to_ascii_lowercase));
    if !text.is_ascii() {
        let composed: String = text.nfc().collect();
        let unicode = composed.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
        out.extend(unicode.map(|w| w.to_lowercase().nfc().collect::<String>()));
    }
}

/// A word as a query names it; `None` when it is not one word.
pub fn query_word(text: &str) -> Option<String> {
    // Whether it is one word is decided before the case is folded, as for stored texts: folding can bring
    // forth marks that are no letters (İ).
    let word: String = text.trim().nfc().collect();
    let one = !word.is_empty() && word.chars().all(char::is_alphanumeric);
    one.then(|| word.to_lowercase().nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_in_lower_case() {
        let w = words("Prediabetes; Type-2 DIABETES (treated)");
        assert!(w.contains("diabetes") && w.contains("prediabetes") && w.contains("2"));
        assert!(!w.contains("type-2"));
        assert_eq!(query_word(" Diabetes "), Some("diabetes".into()));
        assert_eq!(query_word("two words"), None);
        assert_eq!(query_word(""), None);
    }

    #[test]
    fn composed_and_decomposed_letters_meet() {
        assert!(words("Trevin\u{303}o").contains(&query_word("TREVIÑO").unwrap()));
        assert!(words("İstanbul").contains(&query_word("İstanbul").unwrap()));
        assert!(words("Treviño").contains("trevi"), "plain-ASCII words are there too");
    }
}
