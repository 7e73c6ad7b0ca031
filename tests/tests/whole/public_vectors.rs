//! Known answers that no one here wrote, for the standards SDX-1 stands on. Where the suite has
//! a function of its own it is that function which is checked; where a vector needs other
//! parameters, the building block with the parameters the suite does not expose.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hash2curve::GroupDigest;
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::{ProjectivePoint, Secp256k1};
use sealdex_crypto::{Point, Scalar, SignPublic, SignSecret, Signature, log};
use serde_json::Value;

const AES_SIV: &str = include_str!("../../data/wycheproof/aes_siv_cmac_test.json");
const HMAC: &str = include_str!("../../data/wycheproof/hmac_sha256_test.json");
const HKDF: &str = include_str!("../../data/wycheproof/hkdf_sha256_test.json");
const ECDH: &str = include_str!("../../data/wycheproof/ecdh_secp256k1_test.json");
const ECDSA: &str = include_str!("../../data/wycheproof/ecdsa_secp256k1_sha256_test.json");
const HASH_RO: &str = include_str!("../../data/rfc9380/secp256k1_XMD_SHA-256_SSWU_RO.json");
const HASH_NU: &str = include_str!("../../data/rfc9380/secp256k1_XMD_SHA-256_SSWU_NU.json");
const INCLUSION: &str = include_str!("../../data/rfc6962/inclusion.json");
const CONSISTENCY: &str = include_str!("../../data/rfc6962/consistency.json");
const BIP340: &str = include_str!("../../data/bip340/test-vectors.csv");

/// Runs every Wycheproof case; the closure gets the group and the case. Returns how many.
fn wycheproof(file: &str, mut check: impl FnMut(&Value, &Value)) -> usize {
    let file: Value = serde_json::from_str(file).unwrap();
    let mut count = 0;
    for group in file["testGroups"].as_array().unwrap() {
        for case in group["tests"].as_array().unwrap() {
            check(group, case);
            count += 1;
        }
    }
    assert_eq!(count as u64, file["numberOfTests"].as_u64().unwrap());
    count
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn is_valid(case: &Value) -> bool {
    case["result"] == "valid"
}

#[test]
fn aes_siv_agrees_with_wycheproof() {
    use aes_siv::KeyInit;
    use aes_siv::siv::{Aes128Siv, Aes256Siv};

    let count = wycheproof(AES_SIV, |group, case| {
        let (key, aad) = (bytes(&case["key"]), bytes(&case["aad"]));
        let (message, sealed) = (bytes(&case["msg"]), bytes(&case["ct"]));
        let (made, opened) = match group["keySize"].as_u64().unwrap() {
            256 => {
                let mut siv = Aes128Siv::new_from_slice(&key).unwrap();
                (siv.encrypt([&aad], &message), siv.decrypt([&aad], &sealed))
            }
            512 => {
                let mut siv = Aes256Siv::new_from_slice(&key).unwrap();
                (siv.encrypt([&aad], &message), siv.decrypt([&aad], &sealed))
            }
            // Keys of 384 bits: AES-192, which the suite does not use.
            _ => return,
        };
        assert_eq!(opened.is_ok(), is_valid(case), "{case}");
        if is_valid(case) {
            assert_eq!(made.unwrap(), sealed, "{case}");
            assert_eq!(opened.unwrap(), message, "{case}");
        }
    });
    assert_eq!(count, 442);
}

#[test]
fn hmac_agrees_with_wycheproof() {
    use hmac::{Hmac, KeyInit, Mac};

    let count = wycheproof(HMAC, |group, case| {
        let length = group["tagSize"].as_u64().unwrap() as usize / 8;
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&bytes(&case["key"])).unwrap();
        mac.update(&bytes(&case["msg"]));
        let tag = mac.finalize().into_bytes();
        assert_eq!(tag[..length] == bytes(&case["tag"])[..], is_valid(case), "{case}");
    });
    assert_eq!(count, 174);
}

#[test]
fn hkdf_agrees_with_wycheproof() {
    let count = wycheproof(HKDF, |_, case| {
        let (salt, ikm) = (bytes(&case["salt"]), bytes(&case["ikm"]));
        let mut okm = vec![0; case["size"].as_u64().unwrap() as usize];
        let hkdf = hkdf::Hkdf::<sha2::Sha256>::new(Some(&salt), &ikm);
        let done = hkdf.expand(&bytes(&case["info"]), &mut okm);
        assert_eq!(done.is_ok(), is_valid(case), "{case}");
        if is_valid(case) {
            assert_eq!(okm, bytes(&case["okm"]), "{case}");
        }
    });
    assert_eq!(count, 86);
}

/// `kdf` without parts is HKDF with the label as salt and no info.
#[test]
fn kdf_agrees_with_wycheproof_where_the_salt_is_text() {
    let mut checked = 0;
    wycheproof(HKDF, |_, case| {
        let Ok(label) = String::from_utf8(bytes(&case["salt"])) else {
            return;
        };
        if bytes(&case["info"]).is_empty() {
            let mut okm = vec![0; case["size"].as_u64().unwrap() as usize];
            let done = sealdex_crypto::kdf_into(&label, &bytes(&case["ikm"]), &[], &mut okm);
            assert_eq!(done.is_ok(), is_valid(case), "{case}");
            assert!(!is_valid(case) || okm == bytes(&case["okm"]), "{case}");
            checked += 1;
        }
    });
    assert!(checked >= 10, "{checked}");
}

/// Public keys as DER; the ones with the usual prefix for secp256k1 hold a point, compressed
/// or not, which is given to our decoder in compressed form.
#[test]
fn multiplication_agrees_with_wycheproof_ecdh() {
    const COMPRESSED: &str = "3036301006072a8648ce3d020106052b8104000a032200";
    const UNCOMPRESSED: &str = "3056301006072a8648ce3d020106052b8104000a034200";

    let (mut opened, mut refused) = (0, 0);
    wycheproof(ECDH, |_, case| {
        let key = case["public"].as_str().unwrap();
        let Some(point) = key.strip_prefix(COMPRESSED).or(key.strip_prefix(UNCOMPRESSED)) else {
            return;
        };
        let point = hex::decode(point).unwrap();
        let compressed = match point.as_slice() {
            // Our wire form is compressed only; on-curve is checked by k256 in this one.
            [4, ..] if k256::PublicKey::from_sec1_bytes(&point).is_err() => {
                assert!(Point::from_bytes(&point).is_err(), "{case}");
                assert!(!is_valid(case), "{case}");
                refused += 1;
                return;
            }
            [4, xy @ ..] => [&[2 | xy[63] & 1], &xy[..32]].concat(),
            _ => point,
        };
        let private = bytes(&case["private"]);
        let private: Vec<u8> = private.into_iter().skip_while(|&byte| byte == 0).collect();
        let mut scalar = [0; 32];
        scalar[32 - private.len()..].copy_from_slice(&private);
        match Point::from_bytes(&compressed) {
            Ok(point) => {
                let product = point.mul(&Scalar::from_bytes(&scalar).unwrap());
                let same = product.to_bytes()[1..] == bytes(&case["shared"])[..];
                assert!(same || case["result"] == "invalid", "{case}");
                opened += 1;
            }
            Err(_) => {
                assert_eq!(case["result"], "invalid", "{case}");
                refused += 1;
            }
        }
    });
    assert!(opened > 400 && refused > 5, "{opened} {refused}");
}

/// ECDSA is not in the suite; its hostile signatures exercise scalar and point arithmetic.
#[test]
fn arithmetic_agrees_with_wycheproof_ecdsa() {
    use k256::ecdsa::signature::Verifier;
    use k256::ecdsa::{Signature, VerifyingKey};

    let count = wycheproof(ECDSA, |group, case| {
        let key = bytes(&group["publicKey"]["uncompressed"]);
        let key = VerifyingKey::from_sec1_bytes(&key).unwrap();
        // k256 verifies low s only; the vectors hold either form.
        let verified = Signature::from_der(&bytes(&case["sig"]))
            .and_then(|signature| key.verify(&bytes(&case["msg"]), &signature.normalize_s()));
        assert_eq!(verified.is_ok(), is_valid(case), "{case}");
    });
    assert_eq!(count, 476);
}

fn hash_to_curve(file: &str, hash: impl Fn(&[u8], &[u8]) -> ProjectivePoint) {
    let file: Value = serde_json::from_str(file).unwrap();
    let dst = file["dst"].as_str().unwrap();
    let cases = file["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let point = hash(case["msg"].as_str().unwrap().as_bytes(), dst.as_bytes());
        let point = point.to_affine().to_sec1_point(false);
        let hex = |name: &str| case["P"][name].as_str().unwrap()[2..].to_owned();
        let expected = format!("04{}{}", hex("x"), hex("y"));
        assert_eq!(hex::encode(point.as_bytes()), expected, "{case}");
    }
}

#[test]
fn hash_to_curve_agrees_with_rfc_9380() {
    hash_to_curve(HASH_RO, |message, dst| Secp256k1::hash_from_bytes(&[message], &[dst]).unwrap());
    hash_to_curve(HASH_NU, |message, dst| Secp256k1::encode_from_bytes(&[message], &[dst]).unwrap());
}

/// `token_point` is that hash, of the three parts with their lengths.
#[test]
fn token_points_are_rfc_9380_points_of_the_prefixed_parts() {
    let message = b"\x00\x01d\x00\x05field\x00\x02\xff\x00";
    let dst = sealdex_crypto::labels::TOKEN_DST;
    let point = Secp256k1::hash_from_bytes(&[message], &[dst]).unwrap();
    let point = point.to_affine().to_sec1_point(true);
    let token = sealdex_crypto::token_point("d", "field", &[0xff, 0]).unwrap();
    assert_eq!(token.to_bytes(), point.as_bytes());
}

#[test]
fn signatures_agree_with_bip_340() {
    let array = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
    let mut counts = (0, 0, 0);
    for row in BIP340.lines().skip(1) {
        let [_, secret, public, auxiliary, message, signature, valid] = row.split(',').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let message = array(message);
        let signature = Signature(hex::decode(signature).unwrap().try_into().unwrap());
        if !secret.is_empty() {
            let secret = Scalar::from_bytes(&array(secret)).unwrap();
            let secret = SignSecret::from_scalar(&secret);
            assert_eq!(secret.public().to_bytes(), array(public), "{row}");
            assert_eq!(secret.sign_with(&message, &array(auxiliary)), signature, "{row}");
            counts.0 += 1;
        }
        let verified =
            SignPublic::from_bytes(&array(public)).is_ok_and(|public| public.verify(&message, &signature).is_ok());
        assert_eq!(verified, valid == "TRUE", "{row}");
        if verified { counts.1 += 1 } else { counts.2 += 1 }
    }
    assert_eq!(counts, (4, 5, 10));
}

fn hashes(value: &Value) -> Option<Vec<log::Hash>> {
    let proof = value.as_array().map(Vec::as_slice).unwrap_or_default();
    proof.iter().map(hash).collect()
}

fn hash(value: &Value) -> Option<log::Hash> {
    BASE64.decode(value.as_str()?).ok()?.try_into().ok()
}

#[test]
fn inclusion_proofs_agree_with_rfc_6962() {
    let cases: Vec<Value> = serde_json::from_str(INCLUSION).unwrap();
    for case in &cases {
        let held = (|| {
            let (leaf, root) = (hash(&case["leafHash"])?, hash(&case["root"])?);
            let (index, size) = (case["leafIdx"].as_u64()?, case["treeSize"].as_u64()?);
            log::verify_inclusion(&leaf, index, size, &hashes(&case["proof"])?, &root).ok()
        })();
        assert_eq!(held.is_none(), case["wantErr"].as_bool().unwrap(), "{case}");
    }
    assert!(cases.iter().any(|case| case["wantErr"] == false));
}

#[test]
fn consistency_proofs_agree_with_rfc_6962() {
    let cases: Vec<Value> = serde_json::from_str(CONSISTENCY).unwrap();
    for case in &cases {
        // Some roots are the words "don't care": any two that differ, or not, as the words do.
        let root = |name: &str| {
            let mut root = [0; 32];
            let given = BASE64.decode(case[name].as_str()?).ok()?;
            root.get_mut(..given.len())?.copy_from_slice(&given);
            Some(root)
        };
        let held = (|| {
            let (size1, size2) = (case["size1"].as_u64()?, case["size2"].as_u64()?);
            let proof = hashes(&case["proof"])?;
            log::verify_consistency(size1, &root("root1")?, size2, &root("root2")?, &proof).ok()
        })();
        assert_eq!(held.is_none(), case["wantErr"].as_bool().unwrap(), "{case}");
    }
    assert!(cases.iter().any(|case| case["wantErr"] == false));
}
