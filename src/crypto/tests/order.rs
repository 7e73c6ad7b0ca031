//! Order codes and cover: order kept and strict through both layers, equal values hidden,
//! intervals that tile, bounds that are tight, covers that are exact and minimal.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use sealdex_crypto::*;

/// Both layers of one field, from one seed byte.
struct Layers {
    inner: InnerOrderKey,
    outer: OuterOrderKey,
    provider: NoiseKey,
    gate: NoiseKey,
    field: FieldToken,
}

impl Layers {
    fn new(seed: u8) -> Self {
        let field = FieldToken([seed; 16]);
        let gate = GateOrderSecret::from_bytes(&[seed ^ 0x55; 32]);
        Self {
            inner: InnerOrderKey::derive(&MemberOrderSecret::from_bytes(&[seed; 32]), "domain", "field", 3),
            outer: OuterOrderKey::derive(&gate, "domain", &field, 3, &[]),
            provider: NoiseKey::from_bytes(&[seed.wrapping_add(1); 32]),
            gate: NoiseKey::from_bytes(&[seed.wrapping_add(2); 32]),
            field,
        }
    }

    fn inner_code(&self, bits: Bits, q: u64, record: RecordId) -> u64 {
        let drawn = noise(&self.provider, &record, b"field");
        self.inner.code(bits, q, drawn).unwrap()
    }

    fn outer_code(&self, bits: Bits, q: u64, record: RecordId) -> u64 {
        let drawn = noise(&self.gate, &record, &self.field.0);
        let inner = self.inner_code(bits, q, record);
        self.outer.code(bits, inner, drawn).unwrap()
    }
}

fn width() -> impl Strategy<Value = Bits> {
    prop::sample::select(&Bits::FIELD)
}

fn two_values() -> impl Strategy<Value = (Bits, u64, u64)> {
    (width(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(bits, a, b, near)| {
        let a = a & bits.max();
        let b = if near { a ^ (b & 3) } else { b & bits.max() };
        (bits, a.min(b), a.max(b))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn order_is_kept_and_strict_through_both_layers(
        (bits, low, high) in two_values(), seed: u8, r1: [u8; 16], r2: [u8; 16],
    ) {
        let layers = Layers::new(seed);
        let (a, b) = (RecordId(r1), RecordId(r2));
        if low < high {
            prop_assert!(layers.inner_code(bits, low, a) < layers.inner_code(bits, high, b));
            prop_assert!(layers.outer_code(bits, low, a) < layers.outer_code(bits, high, b));
            let tag = [seed; 8];
            let terms = [low, high].map(|q| order_term(tag, layers.outer_code(bits, q, a)));
            prop_assert!(terms[0] < terms[1]);
        }
    }

    #[test]
    fn neighbours_tile_without_gap_or_overlap(
        (bits, q, _) in two_values(), key: [u8; 32], outer: bool,
    ) {
        let key = WalkKey::from_bytes(&key);
        let bits = if outer { bits.outer() } else { bits };
        let (lo, size) = interval(&key, bits, q).unwrap();
        prop_assert!(size >= 16);
        let end = u128::from(lo) + u128::from(size);
        if q < bits.max() {
            prop_assert_eq!(end, u128::from(interval(&key, bits, q + 1).unwrap().0));
        } else {
            prop_assert_eq!(end, 1_u128 << (bits.get() + 16));
        }
        if q == 0 {
            prop_assert_eq!(lo, 0);
        }
    }

    #[test]
    fn bounds_hold_exactly_the_codes_of_the_range(
        (bits, from, to) in two_values(), q: u64, seed: u8, record: [u8; 16],
    ) {
        let layers = Layers::new(seed);
        let q = q & bits.max();
        let inner = layers.inner.bounds(bits, from, to).unwrap();
        let outer = layers.outer.bounds(bits, inner.0, inner.1).unwrap();
        for q in [q, from, to, from.saturating_sub(1), (to + 1).min(bits.max())] {
            let inside = from <= q && q <= to;
            let code = layers.inner_code(bits, q, RecordId(record));
            prop_assert_eq!(inside, inner.0 <= code && code <= inner.1);
            let code = layers.outer_code(bits, q, RecordId(record));
            prop_assert_eq!(inside, outer.0 <= code && code <= outer.1);
        }
    }

    /// The bounds themselves are codes, so nothing narrower would do.
    #[test]
    fn bounds_are_reached((bits, from, to) in two_values(), seed: u8) {
        let layers = Layers::new(seed);
        let inner = layers.inner.bounds(bits, from, to).unwrap();
        prop_assert_eq!(layers.inner.code(bits, from, 0).unwrap(), inner.0);
        let (lo, size) = layers.inner.interval(bits, to).unwrap();
        prop_assert_eq!(layers.inner.code(bits, to, size - 1).unwrap(), inner.1);
        prop_assert_eq!(lo + size - 1, inner.1);
    }

    #[test]
    fn values_that_do_not_fit_are_refused(bits in width(), beyond: u64, seed: u8) {
        let layers = Layers::new(seed);
        let q = bits.max() + 1 + beyond % (u64::MAX - bits.max());
        prop_assert!(layers.inner.code(bits, q, 0).is_err());
        prop_assert!(layers.inner.bounds(bits, 0, q).is_err());
        let outer = bits.outer();
        let code = outer.max() + 1 + beyond % (u64::MAX - outer.max());
        prop_assert!(layers.outer.code(bits, code, 0).is_err());
        prop_assert_eq!(layers.outer.bounds(bits, 5, 4), Err(OrderError::Reversed { from: 5, to: 4 }));
    }

    #[test]
    fn covers_are_exactly_the_range_and_path_meets_it_once(
        half in 1_u8..=10, a: u32, b: u32, q: u32,
    ) {
        let bits = 2 * half;
        let max = (1_u32 << bits) - 1;
        let (a, b, q) = (a & max, b & max, q & max);
        let (from, to) = (a.min(b), a.max(b));
        let nodes = cover::cover(bits, from, to).unwrap();
        let mut next = from;
        for &(length, prefix) in &nodes {
            prop_assert!(length >= 2 && length <= bits && length % 2 == 0);
            prop_assert_eq!(prefix << (bits - length), next);
            next += 1 << (bits - length);
        }
        prop_assert_eq!(next, to + 1);
        // Minimal: no four neighbours are all the children of one node that has a token.
        for four in nodes.windows(4) {
            let whole = four.iter().enumerate().all(|(at, node)| {
                node.0 == four[0].0 && node.1 == (four[0].1 & !3) + at as u32
            });
            prop_assert!(!whole || four[0].0 == 2);
        }
        let path = cover::path(bits, q).unwrap();
        prop_assert_eq!(path.len(), usize::from(bits / 2));
        let met = path.iter().filter(|node| nodes.contains(node)).count();
        prop_assert_eq!(met, usize::from(from <= q && q <= to));
    }
}

#[test]
fn every_leaf_of_a_small_field_has_its_codes_and_all_tile() {
    let key = WalkKey::from_bytes(&[9; 32]);
    for bits in [Bits::new(8).unwrap(), Bits::new(12).unwrap()] {
        let mut next = 0;
        for q in 0..=bits.max() {
            let (lo, size) = interval(&key, bits, q).unwrap();
            assert_eq!(lo, next);
            assert!(size >= 16, "{size}");
            next = lo + size;
        }
        assert_eq!(next, 1 << (bits.get() + 16));
    }
}

/// Follows the narrower side down to a leaf: without the walk's clamp it would have no code.
#[test]
fn even_the_narrowest_leaf_has_sixteen_codes() {
    let bits = Bits::new(32).unwrap().outer();
    let key = WalkKey::from_bytes(&[9; 32]);
    let start = |q: u64| match q {
        q if bits.holds(q) => u128::from(interval(&key, bits, q).unwrap().0),
        _ => 1 << (bits.get() + 16),
    };
    let (mut first, mut leaves) = (0_u64, bits.max() + 1);
    while leaves > 1 {
        let half = leaves / 2;
        let (low, middle, high) = (start(first), start(first + half), start(first + leaves));
        if high - middle < middle - low {
            first += half;
        }
        leaves = half;
    }
    assert_eq!(interval(&key, bits, first).unwrap().1, 16);
}

#[test]
fn equal_values_of_different_records_have_different_codes() {
    let layers = Layers::new(7);
    for bits in Bits::FIELD {
        let count = 200;
        let codes: std::collections::BTreeSet<u64> =
            (0..count).map(|at| layers.outer_code(bits, bits.max() / 3, RecordId([at; 16]))).collect();
        // An inner interval may be narrow enough for a few to meet; the outer parts those too.
        assert!(codes.len() >= usize::from(count) - 2, "{bits:?} {}", codes.len());
    }
}

#[test]
fn another_key_field_epoch_or_scope_is_another_walk() {
    let bits = Bits::new(32).unwrap();
    let code = |key: &InnerOrderKey| key.interval(bits, 123_456_789).unwrap();
    let secret = MemberOrderSecret::from_bytes(&[1; 32]);
    let base = code(&InnerOrderKey::derive(&secret, "d", "f", 0));
    assert_ne!(base, code(&InnerOrderKey::derive(&secret, "d", "f", 1)));
    assert_ne!(base, code(&InnerOrderKey::derive(&secret, "d", "g", 0)));
    assert_ne!(base, code(&InnerOrderKey::derive(&secret, "df", "", 0)));
    let other = MemberOrderSecret::from_bytes(&[2; 32]);
    assert_ne!(base, code(&InnerOrderKey::derive(&other, "d", "f", 0)));

    let gate = GateOrderSecret::from_bytes(&[3; 32]);
    let field = FieldToken([4; 16]);
    let code = |scope: &[u8]| OuterOrderKey::derive(&gate, "d", &field, 0, scope).code(bits, 1 << 40, 0).unwrap();
    assert_ne!(code(&[]), code(&[5; 16]));
    assert_ne!(code(&[6; 16]), code(&[5; 16]));
}

#[test]
fn widths_are_those_of_the_specification() {
    let allowed: Vec<u8> = (0..=255).filter(|&bits| Bits::new(bits).is_ok()).collect();
    assert_eq!(allowed, [8, 12, 16, 20, 24, 28, 32]);
    assert_eq!(Bits::fitting(255).unwrap().get(), 8);
    assert_eq!(Bits::fitting(256).unwrap().get(), 12);
    assert_eq!(Bits::fitting(u64::from(u32::MAX)).unwrap().get(), 32);
    assert_eq!(Bits::fitting(1 << 32), None);
    for bits in [0, 1, 3, 19, 21, 22, 32] {
        assert_eq!(cover::path(bits, 0), Err(cover::CoverError::Width(bits)));
    }
    assert!(cover::cover(8, 0, 256).is_err() && cover::cover(8, 3, 2).is_err());
    assert_eq!(cover::cover(8, 0, 255).unwrap(), [(2, 0), (2, 1), (2, 2), (2, 3)]);
}
