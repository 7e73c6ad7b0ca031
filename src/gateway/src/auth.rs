//! Who may call: anyone who reaches the socket, or clients with a secret that trade it for short-lived tokens
//! (OAuth 2.0 client credentials, as SMART Backend Services use them).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderValue, Method, StatusCode, header};
use rand::Rng as _;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    call::{Call, Content, Reply},
    outcome::Outcome,
    query::{Pairs, last, unescape_component},
};

/// How long a token is good for.
pub const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// Most tokens at once.
const TOKENS: usize = 4096;
/// Shortest secret, characters.
const SECRET: usize = 24;
/// Largest file of clients, bytes.
const CLIENTS_FILE: u64 = 1 << 20;

/// What a client may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// `system/*.read`.
    pub read: bool,
    /// `system/*.write`.
    pub write: bool,
}

/// Names of scopes.
pub const SCOPES: [&str; 2] = ["system/*.read", "system/*.write"];

impl Scopes {
    /// Everything the key's holder may.
    pub const ALL: Self = Self { read: true, write: true };

    fn named(names: &str) -> Option<Self> {
        let mut out = Self::default();
        for name in names.split_ascii_whitespace() {
            match name {
                "system/*.read" => out.read = true,
                "system/*.write" => out.write = true,
                _ => return None,
            }
        }
        Some(out)
    }

    fn common(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }

    fn text(self) -> String {
        let names: Vec<&str> =
            [self.read, self.write].into_iter().zip(SCOPES).filter(|(has, _)| *has).map(|(_, n)| n).collect();
        names.join(" ")
    }
}

/// Why the file of clients is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// It cannot be read.
    #[error("cannot read the clients file {path}: {reason}")]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Others may read or change it.
    #[error("{0} can be read or changed by others: it holds secrets; run chmod 600 on it")]
    Permissions(PathBuf),
    /// It does not say what it should.
    #[error("{path}: {reason}")]
    Content {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileModel {
    client: Vec<ClientModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientModel {
    id: String,
    #[serde(deserialize_with = "wiped")]
    secret: Zeroizing<String>,
    scopes: Vec<String>,
}

fn wiped<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// A client; of its secret only a hash is kept.
struct Client {
    secret: [u8; 32],
    scopes: Scopes,
}

struct Token {
    scopes: Scopes,
    until: Instant,
}

/// The clients there are, and the tokens they hold.
pub struct Clients {
    known: HashMap<String, Client>,
    tokens: Mutex<HashMap<[u8; 32], Token>>,
}

/// Who may call.
pub enum Access {
    /// Anyone who reaches the socket.
    Open,
    /// These clients.
    Clients(Clients),
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Clients {
    /// Reads a file of clients: `[[client]]` with `id`, `secret` and `scopes`.
    ///
    /// # Errors
    /// [`ClientsError`]
    pub fn read(path: &Path) -> Result<Self, ClientsError> {
        let unreadable = |e: std::io::Error| ClientsError::Read { path: path.into(), reason: e.to_string() };
        let about = std::fs::metadata(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            if about.permissions().mode() & 0o077 != 0 {
                return Err(ClientsError::Permissions(path.into()));
            }
        }
        if about.len() > CLIENTS_FILE {
            return Err(ClientsError::Read { path: path.into(), reason: "it is too large".into() });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
        Self::parse(&text).map_err(|reason| ClientsError::Content { path: path.into(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The parser's own message may quote the line, and with it a secret.
        let model: FileModel = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |s| text[..s.start.min(text.len())].lines().count().max(1));
            format!("line {line}: expected [[client]] tables with id, secret and scopes")
        })?;
        let mut known = HashMap::new();
        for c in model.client {
            if c.id.is_empty() || c.id.len() > 128 || !c.id.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
                return Err(format!("client id {:?} must be 1 to 128 visible ASCII characters without a colon", c.id));
            }
            if c.secret.chars().count() < SECRET {
                return Err(format!("the secret of client {:?} is shorter than {SECRET} characters", c.id));
            }
            let scopes = Scopes::named(&c.scopes.join(" ")).filter(|s| *s != Scopes::default());
            let scopes =
                scopes.ok_or_else(|| format!("the scopes of client {:?} must be among {}", c.id, SCOPES.join(", ")))?;
            let client = Client { secret: sha256(c.secret.as_bytes()), scopes };
            if known.insert(c.id.clone(), client).is_some() {
                return Err(format!("client {:?} is listed twice", c.id));
            }
        }
        if known.is_empty() { Err("it lists no client".into()) } else { Ok(Self { known, tokens: Mutex::default() }) }
    }

    fn client(&self, id: &str, secret: &str) -> Option<&Client> {
        let given = sha256(secret.as_bytes());
        let client = self.known.get(id);
        // As long for a client that does not exist.
        let expected = client.map_or([0; 32], |c| c.secret);
        client.filter(|_| bool::from(expected.ct_eq(&given)))
    }

    /// Makes a token; `None` when there are too many.
    fn issue(&self, scopes: Scopes) -> Option<String> {
        let mut token = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(token.as_mut_slice());
        let text = URL_SAFE_NO_PAD.encode(token.as_slice());
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, t| t.until > Instant::now());
        if tokens.len() >= TOKENS {
            return None;
        }
        tokens.insert(sha256(text.as_bytes()), Token { scopes, until: Instant::now() + TOKEN_LIFE });
        Some(text)
    }

    /// What the bearer of a token may do. Tokens are looked up by their hash, so the time it takes says
    /// nothing about how much of one was guessed.
    fn bearer(&self, token: &str) -> Option<Scopes> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&sha256(token.as_bytes())).filter(|t| t.until > Instant::now()).map(|t| t.scopes)
    }
}

impl Access {
    /// What the caller may do.
    ///
    /// # Errors
    /// 401 with `WWW-Authenticate`.
    pub fn scopes(&self, authorization: Option<&str>) -> Result<Scopes, Outcome> {
        let Self::Clients(clients) = self else { return Ok(Scopes::ALL) };
        let refuse = |challenge: &'static str, text: &str| {
            Outcome::new(StatusCode::UNAUTHORIZED, "login", text)
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
        };
        let token = authorization.and_then(|a| strip_scheme(a, "bearer"));
        let token = token.ok_or_else(|| {
            refuse(r#"Bearer realm="sealdex""#, "a token is needed: POST auth/token with grant_type=client_credentials, then send Authorization: Bearer TOKEN")
        })?;
        clients.bearer(token).ok_or_else(|| {
            refuse(
                r#"Bearer realm="sealdex", error="invalid_token""#,
                "the token is unknown or has expired: get a new one at auth/token",
            )
        })
    }

    /// `POST auth/token`.
    ///
    /// # Errors
    /// None: refusals are replies in the form of RFC 6749.
    pub fn token(&self, call: &Call) -> Reply {
        let Self::Clients(clients) = self else {
            return Outcome::not_found("this gateway runs open: it asks for no token").into();
        };
        if call.method != Method::POST {
            return Outcome::method("POST", "tokens are asked for by POST").into();
        }
        match grant(clients, call.header("authorization"), &call.pairs) {
            Ok((token, scopes)) => oauth(
                StatusCode::OK,
                &json!({ "access_token": token, "token_type": "bearer", "expires_in": TOKEN_LIFE.as_secs(), "scope": scopes.text() }),
            ),
            Err((status, error, text)) => {
                let reply = oauth(status, &json!({ "error": error, "error_description": text }));
                match status {
                    StatusCode::UNAUTHORIZED => reply.with(header::WWW_AUTHENTICATE, r#"Basic realm="sealdex""#),
                    StatusCode::TOO_MANY_REQUESTS => reply.with(header::RETRY_AFTER, "30"),
                    _ => reply,
                }
            }
        }
    }
}

fn oauth(status: StatusCode, body: &serde_json::Value) -> Reply {
    let reply = Reply { status, headers: Default::default(), content: Content::Json(body.to_string().into_bytes()) };
    reply.with(header::PRAGMA, "no-cache")
}

type Refused = (StatusCode, &'static str, &'static str);

fn grant(clients: &Clients, authorization: Option<&str>, form: &Pairs) -> Result<(String, Scopes), Refused> {
    let bad = |error, text| (StatusCode::BAD_REQUEST, error, text);
    match last(form, "grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(bad("unsupported_grant_type", "only client_credentials is supported")),
        None => return Err(bad("invalid_request", "grant_type is missing")),
    }
    let unknown = (StatusCode::UNAUTHORIZED, "invalid_client", "no such client, or another secret");
    let basic = authorization.and_then(|a| strip_scheme(a, "basic"));
    let (id, secret) = match basic {
        Some(basic) => credentials(basic).ok_or(unknown)?,
        None => {
            let given = |name| last(form, name).map(|v| Zeroizing::new(v.to_owned()));
            (given("client_id").ok_or(unknown)?, given("client_secret").ok_or(unknown)?)
        }
    };
    let client = clients.client(&id, &secret).ok_or(unknown)?;
    let scopes = match last(form, "scope") {
        None => client.scopes,
        Some(asked) => Scopes::named(asked)
            .ok_or(bad("invalid_scope", "scopes are system/*.read and system/*.write"))?
            .common(client.scopes),
    };
    if scopes == Scopes::default() {
        return Err(bad("invalid_scope", "this client has none of the scopes it asks for"));
    }
    let full =
        (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "too many tokens at once: use those you have");
    Ok((clients.issue(scopes).ok_or(full)?, scopes))
}

fn strip_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = value.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

type Secret = Zeroizing<String>;

/// Id and secret of HTTP Basic, form-encoded as RFC 6749 section 2.3.1 wants them.
fn credentials(basic: &str) -> Option<(Secret, Secret)> {
    let bytes = Zeroizing::new(STANDARD.decode(basic).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((Zeroizing::new(unescape_component(id)?), Zeroizing::new(unescape_component(secret)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "[[client]]\nid = \"app\"\nsecret = \"0123456789abcdefghijklmn\"\nscopes = [\"system/*.read\"]\n";

    fn form(text: &str) -> Pairs {
        crate::query::decode(text).unwrap()
    }

    #[test]
    fn a_secret_is_traded_for_a_token_that_ends() {
        let access = Access::Clients(Clients::parse(FILE).unwrap());
        let Access::Clients(clients) = &access else { unreachable!() };
        let basic = format!("Basic {}", STANDARD.encode("app:0123456789abcdefghijklmn"));
        let (token, scopes) = grant(clients, Some(&basic), &form("grant_type=client_credentials")).unwrap();
        assert_eq!(scopes, Scopes { read: true, write: false });
        assert_eq!(access.scopes(Some(&format!("Bearer {token}"))), Ok(scopes));
        assert_eq!(access.scopes(Some(&format!("bearer {token}"))), Ok(scopes));
        clients.tokens.lock().unwrap().values_mut().for_each(|t| t.until = Instant::now());
        assert_eq!(access.scopes(Some(&format!("Bearer {token}"))).unwrap_err().status, 401);
        for wrong in [None, Some("Bearer x"), Some("Basic x"), Some("Bearer"), Some("")] {
            let refused = access.scopes(wrong).unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.issues[0].code), (401, "login"), "{wrong:?}");
            assert!(refused.headers.iter().any(|(n, _)| n == header::WWW_AUTHENTICATE));
        }
        assert_eq!(Access::Open.scopes(None), Ok(Scopes::ALL));
    }

    #[test]
    fn wrong_clients_grants_and_scopes_are_refused() {
        let clients = Clients::parse(FILE).unwrap();
        let by_form = |text: &str| grant(&clients, None, &form(text)).map(|(_, s)| s.text()).map_err(|e| e.1);
        let good = "grant_type=client_credentials&client_id=app&client_secret=0123456789abcdefghijklmn";
        assert_eq!(by_form(good).as_deref(), Ok("system/*.read"));
        assert_eq!(by_form(&format!("{good}&scope=system/*.read%20system/*.write")).as_deref(), Ok("system/*.read"));
        assert_eq!(by_form(&format!("{good}&scope=system/*.write")), Err("invalid_scope"));
        assert_eq!(by_form(&format!("{good}&scope=patient/*.read")), Err("invalid_scope"));
        assert_eq!(by_form(&good.replace("lmn", "lmx")), Err("invalid_client"));
        assert_eq!(by_form(&good.replace("=app", "=other")), Err("invalid_client"));
        assert_eq!(by_form("grant_type=client_credentials"), Err("invalid_client"));
        assert_eq!(by_form("grant_type=password"), Err("unsupported_grant_type"));
        assert_eq!(by_form(""), Err("invalid_request"));
        assert_eq!(grant(&clients, Some("Basic ###"), &form(good)).map(|_| ()).map_err(|e| e.1), Err("invalid_client"));
    }

    #[test]
    fn tokens_are_bounded() {
        let clients = Clients::parse(FILE).unwrap();
        assert_eq!((0..TOKENS + 1).filter(|_| clients.issue(Scopes::ALL).is_some()).count(), TOKENS);
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_without_telling_secrets() {
        let refused = |text: &str| Clients::parse(text).err().unwrap();
        assert!(refused(&FILE.replace("lmn", "")).contains("shorter than"));
        assert!(refused(&FILE.replace(".read", ".admin")).contains("scopes"));
        assert!(refused(&format!("{FILE}{FILE}")).contains("twice"));
        assert!(refused("client = []").contains("no client"));
        let broken = refused(&FILE.replace("scopes = [", "scopes = "));
        assert!(broken.contains("line") && !broken.contains("0123456789"), "{broken}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clients.toml");
        assert!(matches!(Clients::read(&path), Err(ClientsError::Read { .. })));
        std::fs::write(&path, FILE).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(Clients::read(&path), Err(ClientsError::Permissions(_))));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert!(Clients::read(&path).is_ok());
    }
}
