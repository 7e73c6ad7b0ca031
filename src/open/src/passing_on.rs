//! Passing on what one may read oneself, with the owner's leave: the same factor as for a group that changes its key.

use sealdex_crypto::{Point, Scalar};

use crate::{ReaderKey, grant::derive_d};

/// What a carer makes for another reader.
#[derive(Clone)]
pub struct PassedOn {
    /// `X₂ = x₂·G`.
    pub x_pub: Point,
    /// `d₁·d₂⁻¹`: with it the gate makes `rk₂ = rk₁·d₁·d₂⁻¹ = a·d₂⁻¹` of the carer's own `rk₁`.
    pub factor: Scalar,
    /// `R₂ = rk₂·G`, what the gate checks the result against.
    pub r_pub: Point,
}

/// Passes on a grant that `own` holds: `x_own` and `r_own` are the grant's `X` and `R`, `a` the section's public key.
/// `x` must be fresh and random. Neither the owner's nor the gate's secret takes part; what the reader gets is a grant
/// like any other, which the carer's own key does not fit. Four multiplications.
#[must_use]
pub fn pass_on(own: &ReaderKey, x_own: &Point, r_own: &Point, a: &Point, reader: &Point, x: &Scalar) -> PassedOn {
    let d_own = own.rekey_secret(x_own, a);
    let x_pub = x.base_mul();
    let d = derive_d(&x_pub, reader, &reader.mul(x), a);
    let factor = d_own.scalar().mul(&d.invert());
    PassedOn { x_pub, r_pub: r_own.mul(&factor), factor }
}
