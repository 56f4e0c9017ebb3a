//! Issues certificates.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, civil};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use tidegate_api::pod::{CONTROLLER_CLIENT_NAME, job_server_name};
use xxhash_rust::xxh3::xxh3_64;

/// How long certificates are valid. A job's Secret is never changed, so it outlives every revision.
const VALID_YEARS: i16 = 10;
/// The authority lasts longer than what it issues.
const AUTHORITY_YEARS: i16 = 30;
const AUTHORITY_NAME: &str = "Tidegate job certificates";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The key is not one.
    #[error("the authority's private key is no PKCS#8 key in PEM")]
    Key(#[source] rcgen::Error),
    /// A certificate could not be made.
    #[error("no certificate could be made for {name}")]
    Issue {
        /// The name in it.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

/// What all certificates of an installation come from.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority: its certificate and key.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate(now: Timestamp) -> Result<Issued, CertificateError> {
        let name = || AUTHORITY_NAME.to_owned();
        let issue = |source| CertificateError::Issue {
            name: name(),
            source,
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(issue)?;
        let certificate = authority_params(now).self_signed(&key).map_err(issue)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The authority of a certificate and its key.
    ///
    /// # Errors
    /// The key is none.
    pub fn new(issued: &Issued, now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(&issued.key).map_err(CertificateError::Key)?;
        // What issued certificates say of their issuer is its name and key, which are the same
        // whenever it was made.
        Ok(Self {
            certificate: issued.certificate.clone(),
            issuer: Issuer::new(authority_params(now), key),
        })
    }

    /// Tells it from other authorities: 8 hexadecimal digits, which follow from its certificate.
    pub fn id(&self) -> String {
        format!("{:08x}", xxh3_64(self.certificate.as_bytes()) & 0xffff_ffff)
    }

    /// The certificate that others come from, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The certificate of a job's pods.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn issue_job(
        &self,
        namespace: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Issued, CertificateError> {
        let usages = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue(job_server_name(namespace, name), &usages, now)
    }

    /// The controller's certificate.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn issue_client(&self, now: Timestamp) -> Result<Issued, CertificateError> {
        let usages = [ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(CONTROLLER_CLIENT_NAME.to_owned(), &usages, now)
    }

    fn issue(
        &self,
        name: String,
        usages: &[ExtendedKeyUsagePurpose],
        now: Timestamp,
    ) -> Result<Issued, CertificateError> {
        let make = || {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            let mut params = CertificateParams::new([name.clone()])?;
            // A common name holds 64 characters at most; the names that count are the others.
            params.distinguished_name = DistinguishedName::new();
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = usages.to_vec();
            params.use_authority_key_identifier_extension = true;
            set_validity(&mut params, now, VALID_YEARS);
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok(Issued {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            })
        };
        make().map_err(|source| CertificateError::Issue {
            name: name.clone(),
            source,
        })
    }
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    set_validity(&mut params, now, AUTHORITY_YEARS);
    params
}

/// From two days ago, for the sake of machines whose clocks are behind.
fn set_validity(params: &mut CertificateParams, now: Timestamp, years: i16) {
    let start = now.to_zoned(TimeZone::UTC).date().saturating_sub(2.days());
    let end = start.saturating_add(years.years());
    let at_midnight = |date: civil::Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(date.year().into(), month, day)
    };
    params.not_before = at_midnight(start);
    params.not_after = at_midnight(end);
}
