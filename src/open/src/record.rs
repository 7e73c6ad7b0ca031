//! Opening sealed records (section 7).

use std::{cell::RefCell, io::Read};

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use sealdex_crypto::{CapsuleKey, ENCODING_PLAIN, ENCODING_ZSTD, RecordHeader, RecordKey, TooLong, padme};

const SIV_LEN: usize = 16;
const BODY_PREFIX: usize = 5;

/// Window sizes of zstd frames that are accepted whatever the limit: what levels up to 19 use.
const WINDOW_LOG_ALWAYS: u32 = 23;
/// Largest window of any frame, 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;

/// Why a record does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than an empty record.
    #[error("a sealed record has at least {min} bytes, this has {found}")]
    TooShort {
        /// Shortest possible length.
        min: usize,
        /// Length found.
        found: usize,
    },
    /// A name in the header is too long to be sealed under.
    #[error("the header cannot be encoded: {0}")]
    Header(#[from] TooLong),
    /// Wrong key, wrong header or altered bytes: not granted, another capsule's record, or
    /// tampered with.
    #[error("the record does not open under this key and header")]
    NotAuthentic,
    /// The content's length exceeds the body.
    #[error("the record says {length} bytes of content, its body has room for {room}")]
    Length {
        /// Length the record states.
        length: usize,
        /// Bytes there are.
        room: usize,
    },
    /// The body is not padded to the Padmé length of its content.
    #[error("the body has {found} bytes, the padded length is {expected}")]
    Padding {
        /// What section 7 asks for.
        expected: u64,
        /// Length found.
        found: usize,
    },
    /// Padding that is not zero.
    #[error("the padding is not zero")]
    PaddingNotZero,
    /// An encoding section 7 does not know.
    #[error("encoding {0} is not known; 0 is as is, 1 is zstd")]
    Encoding(u8),
    /// The compressed content is damaged.
    #[error("the content is not a valid zstd stream")]
    Compression,
    /// The content would exceed the caller's limit.
    #[error("the content exceeds the limit of {limit} bytes")]
    OverLimit {
        /// The caller's limit in bytes.
        limit: usize,
    },
}

/// Opens a sealed record and returns its content, decompressed (section 7). Never yields more
/// than `limit` bytes, however small the record; memory is bounded by the record's size plus
/// the limit plus the window of the frame (8 MiB, or the limit if that is more). 1 µs/KiB.
///
/// # Errors
/// [`OpenError`] if the key, the header or the bytes are not those of the seal, or the body is
/// not as section 7 says. No input makes it panic.
pub fn open_record(
    capsule_key: &CapsuleKey,
    header: &RecordHeader,
    sealed: &[u8],
    limit: usize,
) -> Result<Vec<u8>, OpenError> {
    if sealed.len() < SIV_LEN + BODY_PREFIX {
        return Err(OpenError::TooShort { min: SIV_LEN + BODY_PREFIX, found: sealed.len() });
    }
    let key = RecordKey::derive(capsule_key, &header.record_id);
    let body =
        Aes256Siv::new(key.expose().into()).decrypt([header.encode()?], sealed).map_err(|_| OpenError::NotAuthentic)?;
    let (encoding, content) = unpad(&body)?;
    match encoding {
        ENCODING_PLAIN if content.len() > limit => Err(OpenError::OverLimit { limit }),
        ENCODING_PLAIN => Ok(content.to_vec()),
        ENCODING_ZSTD => decompress(content, limit),
        other => Err(OpenError::Encoding(other)),
    }
}

fn unpad(body: &[u8]) -> Result<(u8, &[u8]), OpenError> {
    let Some((&[encoding, a, b, c, d], rest)) = body.split_first_chunk::<BODY_PREFIX>() else {
        return Err(OpenError::TooShort { min: SIV_LEN + BODY_PREFIX, found: SIV_LEN + body.len() });
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let Some((content, padding)) = rest.split_at_checked(length) else {
        return Err(OpenError::Length { length, room: rest.len() });
    };
    let expected = padme((BODY_PREFIX + length) as u64);
    if body.len() as u64 != expected {
        return Err(OpenError::Padding { expected, found: body.len() });
    }
    if padding.iter().any(|&byte| byte != 0) {
        return Err(OpenError::PaddingNotZero);
    }
    Ok((encoding, content))
}

thread_local! {
    /// Making a context takes longer than opening a record of a kilobyte. Each use begins by resetting it.
    static ZSTD: RefCell<zstd::zstd_safe::DCtx<'static>> = RefCell::new(zstd::zstd_safe::DCtx::create());
}

fn decompress(content: &[u8], limit: usize) -> Result<Vec<u8>, OpenError> {
    let window_log = usize::BITS - limit.leading_zeros();
    let window_log = window_log.clamp(WINDOW_LOG_ALWAYS, WINDOW_LOG_MAX);
    let mut plain = Vec::new();
    ZSTD.with_borrow_mut(|context| {
        let mut decoder = zstd::stream::read::Decoder::with_context(content, context);
        decoder.window_log_max(window_log)?;
        // One byte more than allowed tells too long from just fitting.
        decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut plain)
    })
    .map_err(|_| OpenError::Compression)?;
    if plain.len() > limit {
        return Err(OpenError::OverLimit { limit });
    }
    Ok(plain)
}
