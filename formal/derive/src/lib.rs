//! Who together with whom can derive which key of SDX-1: a Dolev-Yao check for the part of the
//! suite that tools with a Diffie-Hellman theory do not reach, products and inverses of scalars.
//!
//! `cargo run -p sealdex-derive` prints the tables; the tests compare every entry with what
//! [`sdx1`] states, and check that planted mistakes are found.
//!
//! # The model
//! - **Scalars** are products of generators with integer exponents: fresh random ones, and hashes
//!   to scalars. Who knows some knows the subgroup they generate ([`lattice`] decides membership,
//!   exactly), and with [`Scalars::Roots`] every root of its members too, since roots are easy
//!   modulo a known prime. All verdicts are the same with and without.
//! - **Points** are a scalar times `G` or times a hash-to-curve point. Who knows `m·B` knows `k·m·B`
//!   for every scalar `k` they know; nobody takes a logarithm, and bases are independent.
//! - **Hashes, sealing, signatures** are free: `H2S`, HKDF and HMAC are derivable from their
//!   arguments and say nothing about them; a box opens under its key; a signature needs its key
//!   and shows its message.
//! - **Shamir shares** combine by rule: values of one sharing at `t` places, all times the same
//!   scalar or point, give its value at any place, `f(0)` being the secret.
//! - **Parties** hold, make, send and delete. A corrupt set knows all that its parties ever saw;
//!   a name with [`scenario::LATE`] stands for one that was honest so far and whose deletions hold.
//!   A sender must be able to derive what it sends, so every scenario is one that can happen.
//!
//! # What leaving sums out costs
//! Nothing, while all knowledge is monomials. Let `L` be the exponents of known scalars. With sums
//! an attacker knows fractions of polynomials over `L`. If a monomial `m` is one, `m·f = g` with
//! `f ≠ 0` and `g` having exponents in `L` only; so those of `m` are in `L`. The same for points
//! `m·B` from known `mᵢ·B`: `m·f = Σ mᵢ·gᵢ` puts `m/mᵢ` in `L` for some `i`. This holds for generators
//! that are independent, the usual idealisation of random scalars and random-oracle hashes.
//! Schnorr signatures and the optional proof of section 5, which are sums, are taken as
//! signatures or left out; Shamir shares have the rule above.
//!
//! # Out of reach
//! - What can be seen without deriving anything: equality of terms, frequency, order, sizes, times,
//!   who asks. Rows of section 12 that state such leakage are not checked, only which keys and
//!   contents follow. That an entry for a *guessed* value can be made stands for reading values of
//!   low entropy.
//! - Active attacks on honest parties, freshness, what a signature authorises: the models in
//!   `formal/symbolic` ask some of that. Here the corrupt know and combine; honest parties do what
//!   the scenario says.
//! - Bits: 16-byte terms, noise, the arithmetic of order codes (hashes of a value here), encodings,
//!   implementations.

pub mod knowledge;
pub mod lattice;
pub mod scenario;
pub mod sdx1;
pub mod term;

pub use knowledge::Scalars;
