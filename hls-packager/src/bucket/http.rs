//! The HTTP client of the bucket: the one that the rest of the server uses, so that there is one in the binary.

use std::error::Error as _;
use std::io;
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

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

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
    /// What reading the file says, or setting up TLS.
    pub(super) fn new(ca_file: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = ca_file {
            for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
        // Several crates bring a crypto provider; a second call keeps the first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let client = reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            // A signature is for one address.
            .redirect(Policy::none())
            .user_agent(concat!("swiftwater/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self(client))
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
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(describe))))
    }
}

/// What the store needs to know of it. The address is left out: the store says it.
fn describe(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() && error.source().is_none() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error.without_url())
}
