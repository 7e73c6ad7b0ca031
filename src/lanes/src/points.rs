//! Points of the curve y² = x³ + 7, eight side by side, in Jacobian coordinates: (X, Y, Z) is (X / Z², Y / Z³).
//!
//! The formula for adding does not hold where both points are the same or opposite. It gives Z = 0 then, and so does
//! every later step: whoever sees Z = 0 in the end calculates that lane another way. In multiples of a point it happens for the
//! scalar 0 only: halves are short, so that sums on the way are the same as an entry only where both their digits are, and
//! these are odd where the sum's are even.

use core::arch::x86_64::{
    __m512i, __mmask8, _mm512_and_si512, _mm512_cmpeq_epi64_mask, _mm512_mask_xor_epi64, _mm512_or_si512,
    _mm512_permutex2var_epi64, _mm512_set1_epi64, _mm512_sllv_epi64, _mm512_srlv_epi64, _mm512_test_epi64_mask,
};

use crate::{
    field::{Fe, LANES, Words, vector},
    generator::{self, Window},
    split::{Half, Halves, Signs},
};

/// β, the cube root of 1 with λ (x, y) = (β x, y); the lowest word first.
const BETA: [u64; 4] = [0xc1396c28719501ee, 0x9cf0497512f58995, 0x6e64479eac3434e9, 0x7ae96a2b657c0710];

#[derive(Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) x: Fe,
    pub(crate) y: Fe,
}

#[derive(Clone, Copy)]
pub(crate) struct Jacobian {
    pub(crate) x: Fe,
    pub(crate) y: Fe,
    pub(crate) z: Fe,
}

impl Affine {
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn negated(self, chosen: __mmask8) -> Affine {
        Affine { x: self.x, y: self.y.negated(chosen) }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn jacobian(self) -> Jacobian {
        Jacobian { x: self.x, y: self.y, z: Fe::small(1) }
    }
}

impl Jacobian {
    /// 3 multiplications and 4 squares.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn double(&self) -> Jacobian {
        let a = self.x.square();
        let b = self.y.square();
        let c = b.square().sum();
        let m = self.x.mul(&b).sum();
        let e = a.sum().plus(a.sum().doubled::<1>()).carried_positive();
        let x = e.square_plus(m.doubled::<3>().negative());
        let w = m.doubled::<2>().minus(x.sum()).carried();
        let y = e.mul_plus(&w, c.doubled::<3>().negative());
        let z = self.y.mul(&self.z).sum().doubled::<1>().carried_positive();
        Jacobian { x, y, z }
    }

    /// The sum, and what Z was multiplied by. 8 multiplications and 3 squares.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn add(&self, other: &Affine) -> (Jacobian, Fe) {
        let zz = self.z.square();
        let h = other.x.mul_plus(&zz, self.x.sum().negative());
        let r = other.y.mul_plus(&self.z.mul(&zz), self.y.sum().negative());
        let hh = h.square();
        let hhh = h.mul(&hh);
        let v = self.x.mul(&hh).sum();
        let x = r.square_plus(hhh.sum().plus(v.doubled::<1>()).negative());
        let w = v.minus(x.sum()).carried();
        let y = r.mul_plus(&w, self.y.mul(&hhh).sum().negative());
        (Jacobian { x, y, z: self.z.mul(&h) }, h)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn or(&self, chosen: __mmask8, other: &Jacobian) -> Jacobian {
        Jacobian { x: self.x.or(chosen, &other.x), y: self.y.or(chosen, &other.y), z: self.z.or(chosen, &other.z) }
    }
}

/// Odd multiples 1 P, 3 P, … 15 P of a point and of λ P, as affine points of a curve that is the given one stretched:
/// all of them had the same Z, `stretch`, by which the Z of what is added up from them is to be multiplied.
struct Table {
    entries: [Affine; 8],
    /// x of the multiples of λ P; y is the same.
    turned: [Fe; 8],
    stretch: Fe,
}

impl Table {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn of(point: &Affine) -> Table {
        let twice = point.jacobian().double();
        // On the curve stretched by the Z of 2 P that is affine, and P as follows.
        let step = Affine { x: twice.x, y: twice.y };
        let zz = twice.z.square();
        let mut last = Affine { x: point.x.mul(&zz), y: point.y.mul(&zz.mul(&twice.z)) }.jacobian();
        let mut multiples = [last; 8];
        let mut ratios = [last.z; 8];
        for (multiple, ratio) in multiples.iter_mut().zip(&mut ratios).skip(1) {
            (last, *ratio) = last.add(&step);
            *multiple = last;
        }
        // The last as it is; those before it with the same Z.
        let beta = Fe::same(BETA);
        let mut entries = multiples.map(|m| Affine { x: m.x, y: m.y });
        let mut ratio = ratios[7];
        for i in (0..7).rev() {
            let square = ratio.square();
            entries[i] = Affine { x: multiples[i].x.mul(&square), y: multiples[i].y.mul(&square.mul(&ratio)) };
            ratio = ratio.mul(&ratios[i]);
        }
        let mut turned = [beta; 8];
        for (turned, entry) in turned.iter_mut().zip(&entries) {
            *turned = entry.x.mul(&beta);
        }
        Table { entries, turned, stretch: last.z.mul(&twice.z) }
    }

    /// The multiple that a digit of four signs stands for. Every entry is read whichever it is.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn pick(&self, turned: bool, digit: __m512i, negative: __mmask8) -> Affine {
        let (place, minus) = place::<3>(digit);
        let x_of = |i: usize| if turned { self.turned[i] } else { self.entries[i].x };
        let mut picked = Affine { x: x_of(0), y: self.entries[0].y };
        for i in 1..8 {
            let here = _mm512_cmpeq_epi64_mask(place, _mm512_set1_epi64(i as i64));
            picked.x = picked.x.or(here, &x_of(i));
            picked.y = picked.y.or(here, &self.entries[i].y);
        }
        picked.negated(minus ^ negative)
    }
}

/// Where the multiple of `BITS` + 1 signs is in a table of odd multiples, and the lanes in which it is negative. As a
/// number w the signs make 2 w − 2ᴮ⁺¹ + 1.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn place<const BITS: u32>(digit: __m512i) -> (__m512i, __mmask8) {
    let low = _mm512_set1_epi64((1 << BITS) - 1);
    let minus = !_mm512_test_epi64_mask(digit, _mm512_set1_epi64(1 << BITS));
    let place = _mm512_and_si512(digit, low);
    (_mm512_mask_xor_epi64(place, minus, place, low), minus)
}

/// `COUNT` signs from bit `at` on.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn signs<const COUNT: u32>(words: &[[u64; LANES]], at: usize) -> __m512i {
    let (word, bit) = (at / 64, at % 64);
    // Shifts by 64 and more give 0.
    let mut digit = _mm512_srlv_epi64(vector(&words[word]), _mm512_set1_epi64(bit as i64));
    if let Some(next) = words.get(word + 1) {
        let next = _mm512_sllv_epi64(vector(next), _mm512_set1_epi64(64 - bit as i64));
        digit = _mm512_or_si512(digit, next);
    }
    _mm512_and_si512(digit, _mm512_set1_epi64((1 << COUNT) - 1))
}

/// k P, lane by lane.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn multiple(point: &Affine, scalars: &Halves) -> Jacobian {
    let table = Table::of(point);
    let digit = |half: usize, at: usize| {
        let of: &Half = &scalars.halves[half];
        table.pick(half == 1, signs::<4>(&of.signs, 4 * at), of.negative)
    };
    let mut sum = digit(0, 31).jacobian().add(&digit(1, 31)).0;
    for at in (0..31).rev() {
        sum = sum.double().double().double().double();
        sum = sum.add(&digit(0, at)).0;
        sum = sum.add(&digit(1, at)).0;
    }
    // Takes away what was added to make the halves odd.
    for (at, half) in scalars.halves.iter().enumerate() {
        let x = if at == 1 { table.turned[0] } else { table.entries[0].x };
        let once = Affine { x, y: table.entries[0].y }.negated(!half.negative);
        sum = sum.or(half.added, &sum.add(&once).0);
    }
    Jacobian { z: sum.z.mul(&table.stretch), ..sum }
}

/// k G, lane by lane.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn multiple_of_generator(scalars: &Signs) -> Jacobian {
    let windows = generator::windows();
    let first = pick_shared(&windows[0], scalars, 0).jacobian();
    plus_windows(first, &windows[1..], scalars, 1)
}

/// `sum` + k G, lane by lane.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn plus_multiple_of_generator(sum: Jacobian, scalars: &Signs) -> Jacobian {
    plus_windows(sum, generator::windows(), scalars, 0)
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn plus_windows(mut sum: Jacobian, windows: &[Window], scalars: &Signs, from: usize) -> Jacobian {
    for (at, window) in windows.iter().enumerate() {
        sum = sum.add(&pick_shared(window, scalars, from + at)).0;
    }
    // The signs of 0 make something else; as Z = 0 it is calculated another way.
    Jacobian { z: sum.z.or(scalars.zero, &Fe::small(0)), ..sum }
}

/// From sixteen multiples in two registers for each limb: a permutation, which reads no memory by secret places.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn pick_shared(window: &Window, scalars: &Signs, at: usize) -> Affine {
    let (place, minus) = place::<4>(signs::<5>(&scalars.words, 5 * at));
    let mut limbs = [_mm512_set1_epi64(0); 10];
    for (limb, [low, high]) in limbs.iter_mut().zip(window) {
        *limb = _mm512_permutex2var_epi64(vector(low), place, vector(high));
    }
    let [a, b, c, d, e, f, g, h, i, j] = limbs;
    Affine { x: Fe([a, b, c, d, e]), y: Fe([f, g, h, i, j]) }.negated(minus ^ scalars.negative)
}

/// Coordinates below p, and the lanes whose Z is 0: these have none.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn affine(points: &[Jacobian]) -> Vec<(Words, Words, u8)> {
    // Montgomery's trick: one inversion for all, each lane for itself.
    let one = Fe::small(1);
    let mut before = Vec::with_capacity(points.len());
    let mut product = one;
    for point in points {
        let zero = point.z.is_zero();
        let z = point.z.or(zero, &one);
        before.push((product, z, zero));
        product = product.mul(&z);
    }
    let mut inverse = product.inverse();
    let mut found = Vec::with_capacity(points.len());
    for (point, (before, z, zero)) in points.iter().zip(&before).rev() {
        let inverted = inverse.mul(before);
        inverse = inverse.mul(z);
        let square = inverted.square();
        let (x, y) = (point.x.mul(&square), point.y.mul(&square.mul(&inverted)));
        found.push((x.to_words(), y.to_words(), *zero));
    }
    found.reverse();
    found
}

/// A y for each x, below p; where x is none of the curve, something else.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn roots(x: &Words) -> Words {
    let x = Fe::from_words(x);
    let right = x.square().mul_plus(&x, Fe::small(7).sum());
    right.square_root().to_words()
}
