//! Where things lie: the authority's folder, a member's folder; and reading them.

use std::path::{Path, PathBuf};

use sealdex_client::{AuthorityKeys, Ceremony, ceremony::AUTHORITY_KIND};
use sealdex_lognet::DomainLog;
use sealdex_member::{DomainPack, GateLink, MemberKeys, Trusted, keys::read_secrets};
use sealdex_net::peer::Http;
use sealdex_schema::{DIABETES130, FHIR_R4};
use sealdex_wire::roster::Roster;

use crate::{failure::Failure, key_options::KeyOptions};

/// The authority's folder.
#[derive(Clone, Debug)]
pub(crate) struct AuthorityDir(pub(crate) PathBuf);

impl AuthorityDir {
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.join("authority.key")
    }
    pub(crate) fn gate(&self) -> PathBuf {
        self.0.join("gate.key")
    }
    /// Key file of a node of the gate.
    pub(crate) fn node(&self, number: u16) -> PathBuf {
        self.0.join(format!("gate-{number}.key"))
    }
    /// Where a node that is to join will be reached.
    pub(crate) fn prepared(&self, number: u16) -> PathBuf {
        self.0.join(format!("gate-{number}.json"))
    }
    pub(crate) fn cloud(&self) -> PathBuf {
        self.0.join("cloud.key")
    }
    pub(crate) fn pack(&self) -> PathBuf {
        self.0.join("domain.json")
    }

    /// Reads the authority's keys and the newest pack.
    pub(crate) fn open(&self, keys: &KeyOptions) -> Result<(Ceremony, String), Failure> {
        let path = self.authority();
        let secrets: AuthorityKeys = read_secrets(&path, AUTHORITY_KIND, keys.to_read(&path)?.as_ref())?;
        let pack = DomainPack::read(&self.pack())?;
        let authority = secrets.gate.authority;
        let trusted = pack.verify(&secrets.domain, &authority)?;
        let schema = pack.schema.peek().map_err(|e| Failure::new(e.to_string()))?.toml;
        Ok((Ceremony::resume(secrets, trusted.roster), schema))
    }
}

/// A member's folder: `member.key`, `domain.json`.
pub(crate) struct Member {
    pub(crate) keys: MemberKeys,
    pub(crate) trusted: Trusted,
    pub(crate) gate: GateLink,
    pub(crate) http: Http,
}

impl Member {
    /// Reads key and pack, and takes over the gate's roster if it is newer.
    pub(crate) async fn open(
        key: &Path,
        pack: &Path,
        options: &KeyOptions,
        ca: Option<&Path>,
    ) -> Result<Self, Failure> {
        let keys = MemberKeys::read(key, options.to_read(key)?.as_ref())?;
        let mut trusted = DomainPack::read(pack)?.verify(&keys.secrets.domain, &keys.secrets.authority)?;
        let http = Http::new(ca)?;
        let gate = trusted.gate(&http, &keys)?;
        trusted.refresh(&gate).await?;
        let gate = trusted.gate(&http, &keys)?;
        Ok(Self { keys, trusted, gate, http })
    }

    /// The domain's log of batches, if it has one; what was read of it is kept in a folder.
    pub(crate) fn log(&self, folder: &Path) -> Result<Option<DomainLog>, Failure> {
        let roster = &self.trusted.roster;
        let (Some(ledger), Some(cloud)) = (&roster.ledger, roster.clouds.first()) else { return Ok(None) };
        Ok(Some(DomainLog::open(&self.http, &roster.domain, ledger, &cloud.url, Some(folder))?))
    }

    /// From a folder with the usual names.
    pub(crate) async fn open_dir(dir: &Path, options: &KeyOptions, ca: Option<&Path>) -> Result<Self, Failure> {
        Self::open(&dir.join("member.key"), &dir.join("domain.json"), options, ca).await
    }
}

/// The roster of a domain's pack, signed by the authority that it names itself: whoever gives the file says whose word
/// counts. For those who hold no key of the domain.
pub(crate) fn roster_of(pack: &Path) -> Result<Roster, Failure> {
    let signed = DomainPack::read(pack)?.roster;
    let refused = |e: String| Failure::new(format!("{}: {e}", pack.display()));
    let claimed = signed.peek().map_err(|e| refused(e.to_string()))?.authority;
    let authority = claimed.identity().map_err(|e| refused(e.to_string()))?;
    signed.verify(&authority).map_err(|e| refused(e.to_string()))
}

/// The text of a schema: a file, or one that ships with the program.
pub(crate) fn schema_text(name: &str) -> Result<String, Failure> {
    match name {
        "fhir-r4" => Ok(FHIR_R4.to_owned()),
        "diabetes130" => Ok(DIABETES130.to_owned()),
        path => std::fs::read_to_string(path)
            .map_err(|e| Failure::new(format!("schema {path}: {e}; or name one that ships: fhir-r4, diabetes130"))),
    }
}

/// Writes JSON beside its target and renames it into place.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::new(format!("cannot write {}: {e}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(fail)?;
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec_pretty(value)?).map_err(fail)?;
    std::fs::rename(&beside, path).map_err(fail)
}
