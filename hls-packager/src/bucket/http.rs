//! The HTTP client of the bucket: the one that the rest of the server uses, so that there is one in the binary.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::redirect::Policy;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::fault::{Fault, Reason};
use crate::Error;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a connection to what tells a machine of itself may take: it is the machine's own, or it is not there.
const CONNECT_NEAR_MAX: Duration = Duration::from_secs(2);

/// Bytes that are read of an answer that refuses something. The rest is let go.
const REFUSAL_BYTES_MAX: usize = 16 << 10;

/// How long an answer may stand still.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long an unused connection is kept: shorter than the idle time-outs of the usual servers.
const IDLE: Duration = Duration::from_secs(15);

/// Sends requests of the store.
#[derive(Clone, Debug)]
pub(super) struct Connector(reqwest::Client);

impl Connector {
    /// A client that trusts the public authorities, and those in `ca_file`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the file cannot be used, and why.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, Error> {
        let client = reqwest::Client::builder().use_preconfigured_tls(tls(ca_file)?);
        Self::build(client.connect_timeout(CONNECT_MAX))
    }

    /// A client for what tells a machine or a container of itself: no proxy knows the way there.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub(super) fn near() -> Result<Self, Error> {
        let client = reqwest::Client::builder().use_preconfigured_tls(tls(None)?).no_proxy();
        Self::build(client.connect_timeout(CONNECT_NEAR_MAX))
    }

    fn build(client: reqwest::ClientBuilder) -> Result<Self, Error> {
        let client = client
            // A signature is for one address.
            .redirect(Policy::none())
            .user_agent(concat!("swiftwater/", env!("CARGO_PKG_VERSION")))
            .read_timeout(SILENCE_MAX)
            .pool_idle_timeout(IDLE)
            .build();
        client.map(Self).map_err(|error| Error::Invalid { setting: "s3", why: error.to_string() })
    }
}

fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        trust(&mut roots, path)?;
    }
    // Several crates bring a crypto provider; a second call keeps the first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Adds the authorities in a file of PEM.
fn trust(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let invalid = |why: &dyn std::fmt::Display| Error::Invalid {
        setting: "s3.ca_file",
        why: format!("= {}: {why}; it must have the certificate of the authority, as PEM", path.display()),
    };
    let read = std::fs::read(path).map_err(|error| invalid(&error))?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&read) {
        found.push(certificate.map_err(|error| invalid(&error))?);
    }
    // Of a bundle of a system some may be older than what is taken today.
    match roots.add_parsable_certificates(found) {
        (0, 0) => Err(invalid(&"there is no certificate in it")),
        (0, _) => Err(invalid(&"none of its certificates can be used")),
        _ => Ok(()),
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = reqwest::Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => bytes.clone().into(),
            None => reqwest::Body::wrap(body),
        });
        let response: http::Response<reqwest::Body> = self.0.execute(request).await.map_err(describe)?.into();
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return refused(response).await;
        }
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(describe))))
    }
}

/// What an answer says that refuses something. What has one cure is told apart here, where all of it is known, and is not
/// asked again: the store would send the same bytes three times.
async fn refused(response: http::Response<reqwest::Body>) -> Result<HttpResponse, HttpError> {
    let (parts, mut body) = response.into_parts();
    let mut said = Vec::new();
    while said.len() < REFUSAL_BYTES_MAX {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame.map_err(describe)?.into_data() {
            said.extend_from_slice(&data[..data.len().min(REFUSAL_BYTES_MAX - said.len())]);
        }
    }
    match Fault::of_answer(parts.status, &String::from_utf8_lossy(&said)) {
        Some(fault) => Err(HttpError::new(HttpErrorKind::Unknown, fault)),
        None => Ok(http::Response::from_parts(parts, said.into())),
    }
}

/// What the store needs to know of it. The address is left out: the store says it.
fn describe(error: reqwest::Error) -> HttpError {
    let fault = Fault::of_request(&error);
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if fault.reason == Reason::Untrusted {
        // The next try would end in the same way.
        HttpErrorKind::Unknown
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() && error.source().is_none() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, fault)
}
