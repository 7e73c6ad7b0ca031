//! Multiples of the base point, calculated once in a process (a millisecond, 67 KB).

use std::sync::OnceLock;

use k256::{
    ProjectivePoint,
    elliptic_curve::{BatchNormalize, point::AffineCoordinates},
};

use crate::{eight::limbs_of, field::LANES};

/// Signs of a scalar that one window is for.
const SIGNS: usize = 5;
/// Windows of a scalar's 260 signs.
const WINDOWS: usize = 52;
const ENTRIES: usize = 1 << (SIGNS - 1);

/// For window i the points (2 j + 1) 2⁵ⁱ G, j from 0 to 15: five limbs of x and five of y, each of all sixteen points.
pub(crate) type Window = [[[u64; LANES]; 2]; 10];

pub(crate) fn windows() -> &'static [Window] {
    static WINDOWS: OnceLock<Vec<Window>> = OnceLock::new();
    WINDOWS.get_or_init(calculated)
}

fn calculated() -> Vec<Window> {
    let mut points = Vec::with_capacity(WINDOWS * ENTRIES);
    let mut base = ProjectivePoint::GENERATOR;
    for _ in 0..WINDOWS {
        let step = base.double();
        let mut multiple = base;
        for _ in 0..ENTRIES {
            points.push(multiple);
            multiple += step;
        }
        for _ in 0..SIGNS {
            base = base.double();
        }
    }
    let affine = <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(&points);
    let of = |points: &[k256::AffinePoint]| {
        let mut window = [[[0; LANES]; 2]; 10];
        for (at, point) in points.iter().enumerate() {
            let (x, y) = (limbs_of(&point.x().into()), limbs_of(&point.y().into()));
            for (limb, value) in window.iter_mut().zip(x.into_iter().chain(y)) {
                limb[at / LANES][at % LANES] = value;
            }
        }
        window
    };
    affine.chunks(ENTRIES).map(of).collect()
}
