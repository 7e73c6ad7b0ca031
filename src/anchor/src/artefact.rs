//! The compiled contract.

use serde_json::Value;

use crate::{Address, Error};

const ARTEFACT: &str = include_str!("../contracts/SealdexAnchor.json");

/// What a deployment sends.
pub(crate) fn bytecode() -> Result<Vec<u8>, Error> {
    bytes("bytecode")
}

/// The poster, if `code` is what a deployment of this contract leaves on the chain.
pub(crate) fn poster_of(code: &[u8]) -> Result<Option<Address>, Error> {
    let wanted = bytes("deployedBytecode")?;
    let places = poster_places()?;
    if code.len() != wanted.len() {
        return Ok(None);
    }
    let mut poster = None;
    let mut blank = code.to_vec();
    for at in places {
        let word: &mut [u8; 32] =
            blank.get_mut(at..at + 32).and_then(|word| word.try_into().ok()).ok_or(Error::Artefact)?;
        if *poster.get_or_insert(*word) != *word {
            return Ok(None);
        }
        word.fill(0);
    }
    Ok(if blank == wanted { poster.as_ref().and_then(Address::of_word) } else { None })
}

fn poster_places() -> Result<Vec<usize>, Error> {
    let artefact = artefact()?;
    let places = artefact["posterAt"].as_array().ok_or(Error::Artefact)?;
    places.iter().map(|at| at.as_u64().map(|at| at as usize).ok_or(Error::Artefact)).collect()
}

fn bytes(name: &str) -> Result<Vec<u8>, Error> {
    let artefact = artefact()?;
    artefact[name].as_str().and_then(|digits| hex::decode(digits).ok()).ok_or(Error::Artefact)
}

fn artefact() -> Result<Value, Error> {
    serde_json::from_str(ARTEFACT).map_err(|_| Error::Artefact)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployed_by(poster: Address) -> Vec<u8> {
        let mut code = bytes("deployedBytecode").unwrap();
        for at in poster_places().unwrap() {
            code[at + 12..at + 32].copy_from_slice(&poster.0);
        }
        code
    }

    #[test]
    fn the_poster_is_read_from_the_code_and_no_other_code_is_taken() {
        let poster = Address([7; 20]);
        let code = deployed_by(poster);
        assert!(bytecode().unwrap().len() > code.len());
        assert_eq!(poster_of(&code), Ok(Some(poster)));
        assert_eq!(poster_of(&[]), Ok(None));
        assert_eq!(poster_of(&code[1..]), Ok(None));
        for at in 0..code.len() {
            let mut other = code.clone();
            other[at] ^= 1;
            assert_eq!(poster_of(&other), Ok(None), "byte {at}");
        }
    }

    #[test]
    fn the_abi_has_exactly_the_calls_and_errors_this_crate_makes_and_reads() {
        let artefact = artefact().unwrap();
        let mut signatures: Vec<String> = artefact["abi"].as_array().unwrap().iter().filter_map(signature).collect();
        signatures.sort();
        let wanted = [
            "error Inconsistent(uint64)",
            "error NotNewer(uint64)",
            "error NotPoster()",
            "error UnknownCheckpoint(uint64)",
            "event Anchored(bytes32,uint64,bytes32)",
            "function latest(bytes32)",
            "function post(bytes32,uint64,bytes32,bytes32[])",
            "function poster()",
            "function rootAt(bytes32,uint64)",
            "function verifyInclusion(bytes32,uint64,bytes32,uint64,bytes32[])",
        ];
        assert_eq!(signatures, wanted);
    }

    fn signature(item: &Value) -> Option<String> {
        let types: Vec<_> = item["inputs"].as_array()?.iter().filter_map(|input| input["type"].as_str()).collect();
        Some(format!("{} {}({})", item["type"].as_str()?, item["name"].as_str()?, types.join(",")))
    }
}
