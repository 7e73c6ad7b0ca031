//! One record: its bytes as read, and what every record must say of itself.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

/// One record's bytes and where they stood. Not parsed yet.
#[derive(Clone, Debug)]
pub struct RawRecord {
    bytes: Vec<u8>,
    file: Arc<Path>,
    line: u64,
    expected: Option<Arc<str>>,
}

impl RawRecord {
    pub(crate) fn new(bytes: Vec<u8>, file: Arc<Path>, line: u64) -> Self {
        Self { bytes, file, line, expected: None }
    }

    /// The record is one only if it is of this type.
    pub(crate) fn expecting(self, resource_type: Arc<str>) -> Self {
        Self { expected: Some(resource_type), ..self }
    }

    /// File it was read from.
    pub fn file(&self) -> &Arc<Path> {
        &self.file
    }

    /// Line, from 1; in a Bundle the entry's number.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Bytes.
    #[allow(clippy::len_without_is_empty)] // a record is never empty
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A record whose type and id are known.
#[derive(Clone, Debug)]
pub struct Record {
    /// FHIR resource type, or a table's record type.
    pub resource_type: String,
    /// Id within its type.
    pub id: String,
    /// Parsed content; numbers keep their text.
    pub json: Json,
    /// The bytes as read: what is sealed, and what a reader gets back.
    pub bytes: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// Not JSON.
    #[error("not JSON: column {column}: {reason}")]
    Json {
        /// Column, from 1.
        column: usize,
        /// Parser's words; they quote no value.
        reason: &'static str,
    },
    /// Not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// No usable resource type.
    #[error("\"resourceType\" is missing or not a type name")]
    ResourceType,
    /// Another type than its file's.
    #[error("it is a {found}; the manifest says that every line of this file is a {expected}")]
    OtherType {
        /// In the record.
        found: String,
        /// In the manifest.
        expected: String,
    },
    /// No usable id.
    #[error("\"id\" is missing or not a FHIR id (1 to 64 letters, digits, '-', '.')")]
    Id,
}

/// FHIR R4 types that can belong to a patient (the Patient compartment, hl7.org/fhir/R4) and that a
/// schema need not name: their records are found by type, id and patient.
pub(crate) const PATIENT_TYPES: [&str; 46] = [
    "Account",
    "AdverseEvent",
    "Appointment",
    "AppointmentResponse",
    "AuditEvent",
    "Basic",
    "BodyStructure",
    "ChargeItem",
    "ClaimResponse",
    "ClinicalImpression",
    "Communication",
    "CommunicationRequest",
    "Composition",
    "Consent",
    "Contract",
    "CoverageEligibilityRequest",
    "CoverageEligibilityResponse",
    "DetectedIssue",
    "DeviceRequest",
    "DeviceUseStatement",
    "DocumentManifest",
    "EnrollmentRequest",
    "EpisodeOfCare",
    "FamilyMemberHistory",
    "Flag",
    "Group",
    "GuidanceResponse",
    "ImmunizationEvaluation",
    "ImmunizationRecommendation",
    "Invoice",
    "List",
    "MeasureReport",
    "Media",
    "MolecularSequence",
    "NutritionOrder",
    "Person",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RequestGroup",
    "ResearchSubject",
    "RiskAssessment",
    "Schedule",
    "Specimen",
    "SupplyDelivery",
    "SupplyRequest",
    "VisionPrescription",
];

pub(crate) fn legal_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

pub(crate) fn legal_type(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Record {
    /// Parses a record.
    pub fn parse(raw: RawRecord) -> Result<Self, RecordError> {
        let record = Self::from_bytes(raw.bytes)?;
        match raw.expected {
            Some(expected) if *expected != *record.resource_type => {
                Err(RecordError::OtherType { found: record.resource_type, expected: expected.to_string() })
            }
            _ => Ok(record),
        }
    }

    /// Parses a record from its bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, RecordError> {
        let json: Json = serde_json::from_slice(&bytes).map_err(|e| RecordError::Json {
            column: e.column(),
            reason: match e.classify() {
                serde_json::error::Category::Eof => "it ends early",
                _ => "unexpected character, bad number, or nested too deep",
            },
        })?;
        if !json.is_object() {
            return Err(RecordError::NotAnObject);
        }
        let text = |name: &str| json.get(name).and_then(Json::as_str);
        let resource_type = text("resourceType").filter(|t| legal_type(t)).ok_or(RecordError::ResourceType)?.to_owned();
        let id = text("id").filter(|i| legal_id(i)).ok_or(RecordError::Id)?.to_owned();
        Ok(Self { resource_type, id, json, bytes })
    }

    /// `Type/id`.
    pub fn identity(&self) -> String {
        format!("{}/{}", self.resource_type, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_named() {
        let parse = |t: &str| Record::from_bytes(t.as_bytes().to_vec()).map(|r| r.identity());
        assert_eq!(parse(r#"{"resourceType":"Patient","id":"a.b-1"}"#).as_deref(), Ok("Patient/a.b-1"));
        assert_eq!(parse("[1]"), Err(RecordError::NotAnObject));
        assert_eq!(parse(r#"{"id":"1"}"#), Err(RecordError::ResourceType));
        assert_eq!(parse(r#"{"resourceType":"Pat ient","id":"1"}"#), Err(RecordError::ResourceType));
        assert_eq!(parse(r#"{"resourceType":"Patient","id":"a/b"}"#), Err(RecordError::Id));
        assert!(matches!(parse(r#"{"resourceType":"#), Err(RecordError::Json { reason: "it ends early", .. })));
        assert!(matches!(parse(&"[".repeat(100_000)), Err(RecordError::Json { .. })));
        assert!(parse("{\"resourceType\":\"Patient\",\"id\":\"1\",\"x\":\"\u{0}\"}").is_err());
    }
}
