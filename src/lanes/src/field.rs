//! Eight elements of the field of secp256k1 side by side, integers modulo p = 2²⁵⁶ − 2³² − 977.
//!
//! An element is five limbs of 52 bits, for the processor multiplies exactly 52 by 52 bits in a lane. It multiplies
//! the lowest 52 bits of what it is given and says nothing of more; so there are two types. A [`Fe`] has been carried:
//! limbs 0 to 3 are below 2⁵² and limb 4 below 2⁴⁸ + 2¹², its value below 2²⁵⁶ + 2²²⁰. A [`Sum`] is a sum of such, not
//! carried, that can only be added to or carried.

use core::arch::x86_64::{
    __m512i, __mmask8, _mm256_extract_epi64, _mm512_add_epi64, _mm512_and_si512, _mm512_castsi512_si256,
    _mm512_cmpeq_epi64_mask, _mm512_cmpneq_epi64_mask, _mm512_extracti64x4_epi64, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_mov_epi64, _mm512_or_si512, _mm512_set_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_sub_epi64,
};

/// Elements side by side.
pub(crate) const LANES: usize = 8;

/// 2²⁵⁶ mod p.
const FOLD: i64 = 0x1_0000_03d1;
/// 2²⁶⁰ mod p.
const FOLD_260: i64 = FOLD << 4;
const LIMB: i64 = (1 << 52) - 1;
const TOP: i64 = (1 << 48) - 1;
/// Limbs of p.
const P: [i64; 5] = [0xf_fffe_ffff_fc2f, LIMB, LIMB, LIMB, TOP];
/// How many times p is added before carrying, so that no limb is below zero.
const SPARE: i64 = 32;

/// Eight elements, carried: fit to be multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Fe(pub(crate) [__m512i; 5]);

/// A sum of multiples of elements, of which the negative ones come to 31 at most, all together to less than 2⁸.
#[derive(Clone, Copy)]
pub(crate) struct Sum([__m512i; 5]);

/// Big integers of 256 bits, word by word (the lowest first), lane by lane.
pub(crate) type Words = [[u64; LANES]; 4];

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(crate) fn vector(lanes: &[u64; LANES]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = lanes.map(|lane| lane as i64);
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn lanes(vector: __m512i) -> [u64; LANES] {
    let (low, high) = (_mm512_castsi512_si256(vector), _mm512_extracti64x4_epi64::<1>(vector));
    [
        _mm256_extract_epi64::<0>(low),
        _mm256_extract_epi64::<1>(low),
        _mm256_extract_epi64::<2>(low),
        _mm256_extract_epi64::<3>(low),
        _mm256_extract_epi64::<0>(high),
        _mm256_extract_epi64::<1>(high),
        _mm256_extract_epi64::<2>(high),
        _mm256_extract_epi64::<3>(high),
    ]
    .map(|lane| lane as u64)
}

impl Fe {
    /// The same small number in every lane.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn small(value: u32) -> Fe {
        let zero = _mm512_setzero_si512();
        Fe([_mm512_set1_epi64(i64::from(value)), zero, zero, zero, zero])
    }

    /// The same number in every lane, given by its words, the lowest first.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn same(words: [u64; 4]) -> Fe {
        Fe::from_words(&words.map(|word| [word; LANES]))
    }

    /// From integers below 2²⁵⁶.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn from_words(words: &Words) -> Fe {
        let [a, b, c, d] = [vector(&words[0]), vector(&words[1]), vector(&words[2]), vector(&words[3])];
        let limb = _mm512_set1_epi64(LIMB);
        Fe([
            _mm512_and_si512(a, limb),
            _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<52>(a), _mm512_slli_epi64::<12>(b)), limb),
            _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<40>(b), _mm512_slli_epi64::<24>(c)), limb),
            _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<28>(c), _mm512_slli_epi64::<36>(d)), limb),
            _mm512_srli_epi64::<16>(d),
        ])
    }

    /// The integers below p that these stand for.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn to_words(self) -> Words {
        let [a, b, c, d, e] = self.canonical().0;
        [
            lanes(_mm512_or_si512(a, _mm512_slli_epi64::<52>(b))),
            lanes(_mm512_or_si512(_mm512_srli_epi64::<12>(b), _mm512_slli_epi64::<40>(c))),
            lanes(_mm512_or_si512(_mm512_srli_epi64::<24>(c), _mm512_slli_epi64::<28>(d))),
            lanes(_mm512_or_si512(_mm512_srli_epi64::<36>(d), _mm512_slli_epi64::<16>(e))),
        ]
    }

    /// Below p. An element is below 2p, so p is taken away once or not at all: it is p or more exactly where adding
    /// 2²⁵⁶ − p reaches 2²⁵⁶.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn canonical(self) -> Fe {
        let mut less = self.0;
        less[0] = _mm512_add_epi64(less[0], _mm512_set1_epi64(FOLD));
        let less = ripple(less);
        let reached = _mm512_cmpneq_epi64_mask(_mm512_srli_epi64::<48>(less.0[4]), _mm512_setzero_si512());
        let mut less = less;
        less.0[4] = _mm512_and_si512(less.0[4], _mm512_set1_epi64(TOP));
        self.or(reached, &less)
    }

    /// The lanes in which the element is 0.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn is_zero(self) -> __mmask8 {
        let [a, b, c, d, e] = self.canonical().0;
        let any = _mm512_or_si512(_mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d)), e);
        _mm512_cmpeq_epi64_mask(any, _mm512_setzero_si512())
    }

    /// `other` in the chosen lanes, in constant time.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn or(self, chosen: __mmask8, other: &Fe) -> Fe {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(&other.0) {
            *limb = _mm512_mask_mov_epi64(*limb, chosen, *other);
        }
        Fe(limbs)
    }

    /// −`self` in the chosen lanes, in constant time.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn negated(self, chosen: __mmask8) -> Fe {
        self.or(chosen, &self.sum().negative().carried())
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn sum(self) -> Sum {
        Sum(self.0)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn mul(&self, other: &Fe) -> Fe {
        let (low, above) = folded(self.product(other));
        settled(low, above)
    }

    /// `self` · `other` + `sum`, carried once.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn mul_plus(&self, other: &Fe, sum: Sum) -> Fe {
        let (low, above) = folded(self.product(other));
        settled(sum.plus(Sum(low)).spared().0, above)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn square(&self) -> Fe {
        let (low, above) = folded(self.squared_product());
        settled(low, above)
    }

    /// `self`² + `sum`, carried once.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn square_plus(&self, sum: Sum) -> Fe {
        let (low, above) = folded(self.squared_product());
        settled(sum.plus(Sum(low)).spared().0, above)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn product(&self, other: &Fe) -> [__m512i; 10] {
        let (a, b) = (&self.0, &other.0);
        let mut c = [_mm512_setzero_si512(); 10];
        for i in 0..5 {
            for j in 0..5 {
                c[i + j] = _mm512_madd52lo_epu64(c[i + j], a[i], b[j]);
                c[i + j + 1] = _mm512_madd52hi_epu64(c[i + j + 1], a[i], b[j]);
            }
        }
        c
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn squared_product(&self) -> [__m512i; 10] {
        let a = &self.0;
        let mut c = [_mm512_setzero_si512(); 10];
        for i in 0..5 {
            for j in i + 1..5 {
                c[i + j] = _mm512_madd52lo_epu64(c[i + j], a[i], a[j]);
                c[i + j + 1] = _mm512_madd52hi_epu64(c[i + j + 1], a[i], a[j]);
            }
        }
        for c in &mut c {
            *c = _mm512_add_epi64(*c, *c);
        }
        for i in 0..5 {
            c[2 * i] = _mm512_madd52lo_epu64(c[2 * i], a[i], a[i]);
            c[2 * i + 1] = _mm512_madd52hi_epu64(c[2 * i + 1], a[i], a[i]);
        }
        c
    }

    /// `self` to the power of 2 to the `times`.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn squared(&self, times: usize) -> Fe {
        let mut power = *self;
        for _ in 0..times {
            power = power.square();
        }
        power
    }

    /// `self` to the powers of 2² − 1, 2²² − 1 and 2²²³ − 1: runs of ones, of which the exponents below consist.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn runs(&self) -> [Fe; 3] {
        let ones_2 = self.squared(1).mul(self);
        let ones_3 = ones_2.squared(1).mul(self);
        let ones_6 = ones_3.squared(3).mul(&ones_3);
        let ones_9 = ones_6.squared(3).mul(&ones_3);
        let ones_11 = ones_9.squared(2).mul(&ones_2);
        let ones_22 = ones_11.squared(11).mul(&ones_11);
        let ones_44 = ones_22.squared(22).mul(&ones_22);
        let ones_88 = ones_44.squared(44).mul(&ones_44);
        let ones_176 = ones_88.squared(88).mul(&ones_88);
        let ones_220 = ones_176.squared(44).mul(&ones_44);
        [ones_2, ones_22, ones_220.squared(3).mul(&ones_3)]
    }

    /// Inverses, `self` to the power of p − 2; of 0 it is 0.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn inverse(&self) -> Fe {
        // p − 2 in binary: 223 ones, 0, 22 ones, 0000, 1, 0, 11, 0, 1.
        let [ones_2, ones_22, ones_223] = self.runs();
        ones_223.squared(23).mul(&ones_22).squared(5).mul(self).squared(3).mul(&ones_2).squared(2).mul(self)
    }

    /// Square roots, `self` to the power of (p + 1) / 4; of what is no square, something else.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn square_root(&self) -> Fe {
        // (p + 1) / 4 in binary: 223 ones, 0, 22 ones, 0000, 11, 00.
        let [ones_2, ones_22, ones_223] = self.runs();
        ones_223.squared(23).mul(&ones_22).squared(6).mul(&ones_2).squared(2)
    }
}

impl Sum {
    #[allow(non_snake_case, reason = "a constant, which a function with target features cannot be")]
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn ZERO() -> Sum {
        Sum([_mm512_setzero_si512(); 5])
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn plus(self, other: Sum) -> Sum {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            *limb = _mm512_add_epi64(*limb, other);
        }
        Sum(limbs)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn minus(self, other: Sum) -> Sum {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            *limb = _mm512_sub_epi64(*limb, other);
        }
        Sum(limbs)
    }

    /// Times 2 to the power of `BITS`.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn doubled<const BITS: u32>(self) -> Sum {
        let mut limbs = self.0;
        for limb in &mut limbs {
            *limb = _mm512_slli_epi64::<BITS>(*limb);
        }
        Sum(limbs)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn negative(self) -> Sum {
        Sum::ZERO().minus(self)
    }

    /// With 32 p added: every limb is at least 32 pᵢ − 31 (2⁵² − 1) > 0 (the highest 32 (2⁴⁸ − 1) − 31 (2⁴⁸ + 2¹²) > 0), so
    /// nothing is borrowed.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn spared(self) -> Sum {
        let mut limbs = self.0;
        for (limb, p) in limbs.iter_mut().zip(P) {
            *limb = _mm512_add_epi64(*limb, _mm512_set1_epi64(SPARE * p));
        }
        Sum(limbs)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn carried(self) -> Fe {
        self.spared().carried_positive()
    }

    /// [`Sum::carried`] of what nothing was taken away from. What the highest limb has from 2⁴⁸ on, below 2⁹, goes to the
    /// lowest times 2²⁵⁶ mod p.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn carried_positive(self) -> Fe {
        let mut limbs = self.0;
        let over = _mm512_srli_epi64::<48>(limbs[4]);
        limbs[4] = _mm512_and_si512(limbs[4], _mm512_set1_epi64(TOP));
        limbs[0] = _mm512_madd52lo_epu64(limbs[0], over, _mm512_set1_epi64(FOLD));
        ripple(limbs)
    }
}

/// Carries from each limb to the next; what the highest gets stays with it.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn ripple(mut limbs: [__m512i; 5]) -> Fe {
    let limb = _mm512_set1_epi64(LIMB);
    for i in 0..4 {
        limbs[i + 1] = _mm512_add_epi64(limbs[i + 1], _mm512_srli_epi64::<52>(limbs[i]));
        limbs[i] = _mm512_and_si512(limbs[i], limb);
    }
    Fe(limbs)
}

/// The upper five of ten limbs of a product times 2²⁶⁰ mod p onto the lower five: these, and what is above them. The limbs are
/// below 2⁵⁷, all together below 2⁵²⁰.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn folded(mut c: [__m512i; 10]) -> ([__m512i; 5], __m512i) {
    // The upper are carried among themselves; what stays above 52 bits in them the multiplication does not see, and
    // the tenth has no more, for the product has 520 bits.
    for i in 5..9 {
        c[i + 1] = _mm512_add_epi64(c[i + 1], _mm512_srli_epi64::<52>(c[i]));
    }
    let fold = _mm512_set1_epi64(FOLD_260);
    let mut low = [c[0], c[1], c[2], c[3], c[4]];
    let mut above = _mm512_setzero_si512();
    for i in 0..5 {
        low[i] = _mm512_madd52lo_epu64(low[i], c[i + 5], fold);
        match low.get_mut(i + 1) {
            Some(next) => *next = _mm512_madd52hi_epu64(*next, c[i + 5], fold),
            None => above = _mm512_madd52hi_epu64(above, c[i + 5], fold),
        }
    }
    (low, above)
}

/// Carries limbs below 2⁶¹ and what is above them, below 2³⁸.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn settled(mut low: [__m512i; 5], above: __m512i) -> Fe {
    // What there is from 2²⁵⁶ on, but for what the fourth limb carries to the fifth yet, which leaves it below
    // 2⁴⁸ + 2⁹. Its product with 2²⁵⁶ mod p has two limbs, for it is below 2⁴³.
    let over = _mm512_add_epi64(_mm512_srli_epi64::<48>(low[4]), _mm512_slli_epi64::<4>(above));
    low[4] = _mm512_and_si512(low[4], _mm512_set1_epi64(TOP));
    let fold = _mm512_set1_epi64(FOLD);
    low[0] = _mm512_madd52lo_epu64(low[0], over, fold);
    low[1] = _mm512_madd52hi_epu64(low[1], over, fold);
    ripple(low)
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code, reason = "to call, in `run`, what the processor was found to have")]

    use super::*;

    type Big = [u64; 4];
    const MODULUS: Big = [0xffff_fffe_ffff_fc2f, u64::MAX, u64::MAX, u64::MAX];

    fn minus_p(a: Big) -> (Big, bool) {
        let (mut difference, mut borrow) = (a, false);
        for (limb, p) in difference.iter_mut().zip(MODULUS) {
            let (low, under) = limb.overflowing_sub(p);
            let (low, again) = low.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (low, under || again);
        }
        (difference, borrow)
    }

    /// a + b mod p, of such below p; bit by bit, in another way than the lanes do anything.
    fn add(a: Big, b: Big) -> Big {
        let (mut sum, mut carry) = ([0; 4], false);
        for i in 0..4 {
            let (low, over) = a[i].overflowing_add(b[i]);
            let (low, again) = low.overflowing_add(u64::from(carry));
            (sum[i], carry) = (low, over || again);
        }
        let (less, below) = minus_p(sum);
        if carry || !below { less } else { sum }
    }

    fn times(a: Big, b: Big) -> Big {
        let mut product = [0; 4];
        for bit in (0..256).rev() {
            product = add(product, product);
            if b[bit / 64] >> (bit % 64) & 1 == 1 {
                product = add(product, a);
            }
        }
        product
    }

    fn small(value: u64) -> Big {
        [value, 0, 0, 0]
    }

    fn minus(a: Big) -> Big {
        let minus_one = [MODULUS[0] - 1, MODULUS[1], MODULUS[2], MODULUS[3]];
        times(a, minus_one)
    }

    /// The value of limbs mod p.
    fn value(limbs: [u64; 5]) -> Big {
        limbs.iter().rev().fold(small(0), |sum, limb| add(times(sum, small(1 << 52)), small(*limb)))
    }

    /// Limbs as a carried element may have them: the largest, the smallest, and those around p.
    fn patterns() -> Vec<[u64; 5]> {
        const L: u64 = (1 << 52) - 1;
        const T: u64 = (1 << 48) - 1;
        let p = [0xf_fffe_ffff_fc2f, L, L, L, T];
        let mut patterns = vec![[0; 5], [1, 0, 0, 0, 0], [L, L, L, L, T + (1 << 12)], [L, L, L, L, T], p];
        patterns.extend([
            [p[0] - 1, L, L, L, T],
            [p[0] + 1, L, L, L, T],
            [0, 0, 0, 0, T + 1],
            [L, 0, L, 0, T],
            [0, L, 0, L, 0],
        ]);
        let mut walk = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..14 {
            patterns.push([(); 5].map(|()| {
                walk = walk.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
                (walk >> 3) & L
            }));
            if let Some(last) = patterns.last_mut() {
                last[4] &= T;
            }
        }
        patterns
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn all_lanes(limbs: [u64; 5]) -> Fe {
        Fe(limbs.map(|limb| vector(&[limb; LANES])))
    }

    /// What an element stands for, in each lane the same, after a look at its limbs.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn seen(element: Fe) -> Big {
        let limbs = element.0.map(|limb| lanes(limb));
        assert!(limbs.iter().all(|limb| limb.iter().all(|lane| *lane == limb[0])));
        assert!(limbs[..4].iter().all(|limb| limb[0] < 1 << 52) && limbs[4][0] < (1 << 48) + (1 << 12), "{limbs:x?}");
        let words = element.to_words().map(|word| word[7]);
        assert!(minus_p(words).1, "not below p: {words:x?}");
        words
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn pairs() {
        for a in patterns() {
            let (x, of_x) = (all_lanes(a), value(a));
            assert_eq!(seen(x), of_x);
            assert_eq!(seen(x.square()), times(of_x, of_x));
            assert_eq!(x.is_zero(), if of_x == small(0) { 0xff } else { 0 });
            assert_eq!(seen(x.negated(0xff)), minus(of_x));
            for b in patterns() {
                let (y, of_y) = (all_lanes(b), value(b));
                assert_eq!(seen(x.mul(&y)), times(of_x, of_y));
                assert_eq!(seen(x.sum().plus(y.sum()).carried()), add(of_x, of_y));
                assert_eq!(seen(x.sum().plus(y.sum()).carried_positive()), add(of_x, of_y));
                // −31 y, as much as may be taken away.
                let y = y.sum();
                let much =
                    y.plus(y.doubled::<1>()).plus(y.doubled::<2>()).plus(y.doubled::<3>()).plus(y.doubled::<4>());
                let less = minus(times(of_y, small(31)));
                assert_eq!(seen(much.negative().carried()), less);
                assert_eq!(seen(x.mul_plus(&x, much.negative())), add(times(of_x, of_x), less));
                assert_eq!(seen(x.square_plus(much.negative())), add(times(of_x, of_x), less));
                assert_eq!(seen(x.mul_plus(&x, much)), add(times(of_x, of_x), minus(less)));
                assert_eq!(seen(x.sum().minus(much).carried()), add(of_x, less));
                assert_eq!(seen(x.sum().doubled::<7>().minus(much).carried()), add(times(of_x, small(128)), less));
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn powers() {
        for a in patterns() {
            let (x, of_x) = (all_lanes(a), value(a));
            let one = if of_x == small(0) { small(0) } else { small(1) };
            assert_eq!(times(seen(x.inverse()), of_x), one);
            let square = times(of_x, of_x);
            let root = seen(x.square().square_root());
            assert_eq!(times(root, root), square);
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn lane_by_lane() {
        let some = patterns();
        let eight: [[u64; 5]; LANES] = std::array::from_fn(|lane| some[lane + 5]);
        let element = Fe([0, 1, 2, 3, 4].map(|limb| vector(&eight.map(|limbs| limbs[limb]))));
        let words = element.to_words();
        for (lane, limbs) in eight.into_iter().enumerate() {
            assert_eq!(words.map(|word| word[lane]), value(limbs));
        }
        assert_eq!(Fe::from_words(&words).to_words(), words);
        let chosen = element.or(0b1010_0001, &Fe::small(9)).to_words();
        for lane in 0..LANES {
            let expected = if 0b1010_0001 >> lane & 1 == 1 { small(9) } else { words.map(|word| word[lane]) };
            assert_eq!(chosen.map(|word| word[lane]), expected);
        }
    }

    macro_rules! run {
        ($($name:ident: $function:ident;)*) => {$(
            #[test]
            fn $name() {
                match crate::accelerated() {
                    // SAFETY: the processor has what the function's `target_feature` names.
                    true => unsafe { $function() },
                    false => println!("skipped: this processor has no AVX-512 IFMA"),
                }
            }
        )*};
    }

    run! {
        sums_and_products_of_extremes: pairs;
        inverses_and_roots: powers;
        every_lane_is_its_own: lane_by_lane;
    }
}
