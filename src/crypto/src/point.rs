//! Public points of secp256k1 (section 1): 33 bytes, compressed SEC1, never the identity.

use std::fmt;

use k256::elliptic_curve::BatchNormalize;
use k256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use k256::{AffinePoint, ProjectivePoint, Sec1Point};
use zeroize::Zeroize;

use crate::Scalar;
use crate::ids::write_hex;

/// Length of an encoded point in bytes.
pub const POINT_LEN: usize = 33;

/// Bytes that are no point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// Not 33 bytes (32 for an x-only key).
    #[error("an encoded point has {expected} bytes, this has {found}")]
    Length {
        /// What it should be.
        expected: usize,
        /// What it is.
        found: usize,
    },
    /// The first byte is neither 02 nor 03.
    #[error("the point is not in compressed SEC1 form (first byte 02 or 03)")]
    NotCompressed,
    /// No point of the curve has this x coordinate.
    #[error("the point is not on the curve")]
    NotOnCurve,
}

/// A validated point that is not the identity, kept decoded so that using it costs no second
/// decompression (5 µs).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Point(pub(crate) AffinePoint);

impl Point {
    /// Decodes 33 compressed bytes. One square root, 5 µs; for several use [`decode_many`].
    ///
    /// # Errors
    /// [`PointError`] for any other length or form, for the identity and for points off the
    /// curve.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PointError> {
        if bytes.len() != POINT_LEN {
            return Err(PointError::Length { expected: POINT_LEN, found: bytes.len() });
        }
        if !matches!(bytes[0], 2 | 3) {
            return Err(PointError::NotCompressed);
        }
        let encoded = Sec1Point::from_bytes(bytes).map_err(|_| PointError::NotCompressed)?;
        let affine: Option<AffinePoint> = AffinePoint::from_sec1_point(&encoded).into();
        affine.map(Self).ok_or(PointError::NotOnCurve)
    }

    /// 33 compressed bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; POINT_LEN] {
        encode_affine(&self.0)
    }

    /// `scalar · self`, in constant time. One multiplication (37 µs) and one inversion (4 µs);
    /// for several use [`mul_many`] or [`mul_pairs`].
    #[must_use]
    pub fn mul(&self, scalar: &Scalar) -> Point {
        Point::from_projective(&self.mul_projective(scalar))
    }

    pub(crate) fn mul_projective(&self, scalar: &Scalar) -> ProjectivePoint {
        ProjectivePoint::from(self.0) * *scalar.0
    }

    /// The group has prime order, so a multiple by a non-zero scalar is never the identity.
    pub(crate) fn from_projective(point: &ProjectivePoint) -> Point {
        Point(point.to_affine())
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(out, &self.to_bytes())
    }
}

/// Encodes points that are already decoded, in order.
#[must_use]
pub fn encode_many(points: &[Point]) -> Vec<[u8; POINT_LEN]> {
    points.iter().map(Point::to_bytes).collect()
}

/// Decodes points, in order, each as [`Point::from_bytes`] does. Eight at a time where the processor can: 0.8 µs each.
#[must_use]
pub fn decode_many(encoded: &[[u8; POINT_LEN]]) -> Vec<Result<Point, PointError>> {
    let decoded = sealdex_lanes::decode(encoded).into_iter().zip(encoded);
    decoded.map(|(point, bytes)| point.map_or_else(|| Point::from_bytes(bytes), |point| Ok(Point(point)))).collect()
}

/// Multiplies every point by one scalar and encodes the products, in order. Eight at a time where the processor can:
/// 6 µs each.
#[must_use]
pub fn mul_many(points: &[Point], scalar: &Scalar) -> Vec<[u8; POINT_LEN]> {
    mul_points(points, scalar).iter().map(Point::to_bytes).collect()
}

/// As [`mul_many`], without encoding.
#[must_use]
pub fn mul_points(points: &[Point], scalar: &Scalar) -> Vec<Point> {
    products(points.iter().map(|p| (*p, scalar)))
}

/// Multiplies each point by the scalar beside it and encodes the products, in order. Eight at a time where the
/// processor can: 6 µs each.
#[must_use]
pub fn mul_pairs(pairs: &[(Point, &Scalar)]) -> Vec<[u8; POINT_LEN]> {
    shared_products(pairs.iter().copied()).iter().map(Point::to_bytes).collect()
}

/// Points that keys are derived from: wiped when dropped.
pub(crate) struct SharedPoints(Vec<Point>);

impl SharedPoints {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Point> {
        self.0.iter()
    }
}

impl Drop for SharedPoints {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|point| point.0.zeroize());
    }
}

/// As [`products`].
pub(crate) fn shared_products<'s>(pairs: impl Iterator<Item = (Point, &'s Scalar)>) -> SharedPoints {
    SharedPoints(products(pairs))
}

/// As [`products`], for scalars that are no secret.
pub(crate) fn public_products<'s>(pairs: impl Iterator<Item = (Point, &'s Scalar)>) -> Vec<Point> {
    let terms: Vec<_> = pairs.map(|(point, scalar)| (point.0, scalar.inner())).collect();
    sealdex_lanes::multiply_public(&terms).into_iter().map(Point).collect()
}

/// Each point times its scalar, in order. The group has prime order and no scalar is 0, so none is the identity.
pub(crate) fn products<'s>(pairs: impl Iterator<Item = (Point, &'s Scalar)>) -> Vec<Point> {
    let terms: Vec<_> = pairs.map(|(point, scalar)| (point.0, scalar.inner())).collect();
    sealdex_lanes::multiply(&terms).into_iter().map(Point).collect()
}

/// The base point times each scalar, in order.
pub(crate) fn base_products<'s>(scalars: impl Iterator<Item = &'s Scalar>) -> Vec<Point> {
    let scalars: Vec<_> = scalars.map(Scalar::inner).collect();
    sealdex_lanes::multiply_generator(&scalars).into_iter().map(Point).collect()
}

/// Encodes points of which none is the identity, with one inversion for all.
pub(crate) fn encode_projective(points: &[ProjectivePoint]) -> Vec<[u8; POINT_LEN]> {
    if points.is_empty() {
        return Vec::new();
    }
    let affine = <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(points);
    affine.iter().map(encode_affine).collect()
}

/// Normalises two points at once: a capsule alone needs exactly two.
pub(crate) fn normalize_pair(points: [ProjectivePoint; 2]) -> [Point; 2] {
    <ProjectivePoint as BatchNormalize<[_; 2]>>::batch_normalize(&points).map(Point)
}

fn encode_affine(point: &AffinePoint) -> [u8; POINT_LEN] {
    let mut bytes = [0; POINT_LEN];
    let encoded = point.to_sec1_point(true);
    let encoded = encoded.as_bytes();
    // The identity encodes as one byte; no `Point` holds it.
    if encoded.len() == POINT_LEN {
        bytes.copy_from_slice(encoded);
    }
    bytes
}
