//! Download of a published file.
//!
//! A request names the version that is here already (`ETag`, `Last-Modified`), so that unchanged
//! files are not sent again. The content is written to a file beside the one that it may replace.
//! The caller checks it and keeps it, rejects it or drops it; the old file stays until then.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};

use super::publisher_tls::PublisherTls;
use super::spool::Spool;
use super::versions::{Pending, Release, Version, Versions, version_file};
use crate::config::model::Published;

/// Maximum size of a file in bytes: no known file reaches a fifth of it.
const SIZE_LIMIT: u64 = 4 << 30;

/// Maximum size of a published checksum file in bytes: one line of sha256sum, or a few.
const CHECKSUM_LIMIT: u64 = 64 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Error of a download.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no response, or an unusable one.
    #[error("{url}: {error}")]
    Http {
        /// URL of the request.
        url: String,
        /// Error of the HTTP client.
        #[source]
        error: Box<ureq::Error>,
    },
    /// The response has an unexpected status.
    #[error("{url}: status {status}")]
    Status {
        /// URL of the request.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The transfer broke off, or the file cannot be written.
    #[error("{url}: {error}")]
    Body {
        /// URL of the request.
        url: String,
        /// Error of the transfer or of the file system.
        #[source]
        error: io::Error,
    },
    /// The published checksum is that of another content.
    #[error("{url}: the SHA-256 is {found}, and {checksum_url} says {expected}")]
    Checksum {
        /// URL of the file.
        url: String,
        /// URL of the checksum.
        checksum_url: String,
        /// Published checksum.
        expected: String,
        /// Checksum of the downloaded file.
        found: String,
    },
    /// The checksum file does not start with a checksum.
    #[error("{url}: does not begin with a SHA-256 in hexadecimal")]
    NoChecksum {
        /// URL of the checksum.
        url: String,
    },
    /// A local file cannot be used.
    #[error("{path}: {error}")]
    File {
        /// Path of the file.
        path: String,
        /// Description of the error.
        error: String,
    },
}

impl FetchError {
    fn file(path: &Path, error: &dyn std::fmt::Display) -> Self {
        FetchError::File {
            path: path.display().to_string(),
            error: error.to_string(),
        }
    }
}

/// Downloads one file, again whenever it changes.
pub struct Fetcher {
    published: Published,
    agent: Agent,
    versions: Versions,
}

/// A downloaded file that is not in use yet. It disappears when it is dropped, or when the process
/// ends. If it was neither kept nor rejected, its version is downloaded again.
pub struct Download {
    content: Spool,
    pending: Pending,
    target: PathBuf,
}

impl Fetcher {
    /// Creates a fetcher of this file, which records in `versions` what was downloaded.
    ///
    /// # Errors
    /// If the CA certificates cannot be read.
    pub fn new(published: &Published, versions: Versions) -> Result<Self, FetchError> {
        let by_system = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .tls_config(by_system.build())
            .timeout_global(Some(published.timeout))
            .timeout_connect(Some(CONNECT_TIMEOUT.min(published.timeout)))
            .max_redirects(5)
            // A request over https must not be redirected to http.
            .https_only(published.url.starts_with("https:"))
            .user_agent(concat!("geogate/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .build();
        let agent = match &published.ca_file {
            None => Agent::new_with_config(config),
            Some(file) => {
                let tls = PublisherTls::new(certificates(file)?);
                let tls = tls.map_err(|error| FetchError::file(file, &error))?;
                let connector =
                    ().chain(ConnectProxyConnector::default())
                        .chain(TcpConnector::default())
                        .chain(tls);
                Agent::with_parts(config, connector, DefaultResolver::default())
            }
        };
        versions.read(&published.file);
        Ok(Fetcher {
            published: published.clone(),
            agent,
            versions,
        })
    }

    /// Downloads the published file; `None` if it has not changed since the last download that was
    /// kept, was rejected or is still being checked.
    ///
    /// # Errors
    /// If the transfer fails, or the content does not match its checksum.
    pub fn fetch(&self) -> Result<Option<Download>, FetchError> {
        let url = &self.published.url;
        let mut request = self.agent.get(url);
        let last = self.versions.last();
        if !last.etag.is_empty() {
            request = request.header(IF_NONE_MATCH, &last.etag);
        }
        if !last.last_modified.is_empty() {
            request = request.header(IF_MODIFIED_SINCE, &last.last_modified);
        }
        let mut response = request.call().map_err(|error| http_error(url, error))?;
        match response.status().as_u16() {
            200 => {}
            304 => return Ok(None),
            status => return Err(status_error(url, status)),
        }
        let header = |name| {
            let value: Option<&http::HeaderValue> = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let version = Version {
            etag: header(ETAG),
            last_modified: header(LAST_MODIFIED),
        };
        let body = response.body_mut().with_config().limit(SIZE_LIMIT).reader();
        let (content, sum) =
            store(body, &self.published.file).map_err(|error| FetchError::Body {
                url: url.clone(),
                error,
            })?;
        if let Some(checksum_url) = &self.published.checksum_url {
            let expected = self.checksum(checksum_url)?;
            if expected != sum {
                return Err(FetchError::Checksum {
                    url: url.clone(),
                    checksum_url: checksum_url.clone(),
                    expected,
                    found: sum,
                });
            }
        }
        let pending = Pending::begin(&self.versions, Release { version, sum });
        Ok(pending.map(|pending| Download {
            content,
            pending,
            target: self.published.file.clone(),
        }))
    }

    fn checksum(&self, url: &str) -> Result<String, FetchError> {
        let response = self.agent.get(url).call();
        let mut response = response.map_err(|error| http_error(url, error))?;
        if response.status() != 200 {
            return Err(status_error(url, response.status().as_u16()));
        }
        let body = response.body_mut().with_config().limit(CHECKSUM_LIMIT);
        let text = body
            .read_to_string()
            .map_err(|error| http_error(url, error))?;
        let word = text.split_whitespace().next().unwrap_or_default();
        if word.len() != 64 || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(FetchError::NoChecksum {
                url: url.to_owned(),
            });
        }
        Ok(word.to_ascii_lowercase())
    }
}

impl Download {
    /// Returns the path of the content until it is kept.
    pub fn path(&self) -> &Path {
        self.content.path()
    }

    /// Returns the path of the file to replace.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Replaces the previous file by the content, in one step.
    ///
    /// # Errors
    /// If the operating system returns an error. The previous file is still in place then.
    pub fn keep(self) -> Result<(), FetchError> {
        let Download {
            content,
            pending,
            target,
        } = self;
        let in_target = |error: io::Error| FetchError::file(&target, &error);
        let kept = content.sync().map_err(in_target);
        // Without its version, the file would be downloaded once more than necessary; with the
        // version of another file, it would never be downloaded.
        let version_file = version_file(&target);
        let _ = std::fs::remove_file(&version_file);
        kept?;
        content.keep(&target).map_err(in_target)?;
        if let Err(error) = pending.release.version.write(&version_file) {
            // The new file is in place and in use: this is no reason to reject it.
            log::warn!(
                "{}: {error}; {} is downloaded again after a restart",
                version_file.display(),
                target.display()
            );
            let _ = std::fs::remove_file(&version_file);
        }
        pending.kept();
        Ok(())
    }

    /// Drops the content, which is not usable. Its version is not downloaded again until
    /// [`Versions::retry_rejected`] or a restart.
    pub fn reject(self) {
        self.pending.rejected();
    }
}

/// Writes a body beside `file`. Returns the content and its SHA-256 in hexadecimal.
fn store(mut body: impl Read, file: &Path) -> io::Result<(Spool, String)> {
    let mut content = Spool::beside(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..length]);
        content.file().write_all(&buffer[..length])?;
    }
    let mut sum = String::new();
    for byte in hash.finalize() {
        write!(sum, "{byte:02x}").expect("a string takes what is written");
    }
    Ok((content, sum))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FetchError> {
    let text = std::fs::read(file).map_err(|error| FetchError::file(file, &error))?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| FetchError::file(file, &error))?;
    if certificates.is_empty() {
        return Err(FetchError::file(file, &"there is no certificate in it"));
    }
    Ok(certificates)
}

fn http_error(url: &str, error: ureq::Error) -> FetchError {
    FetchError::Http {
        url: url.to_owned(),
        error: Box::new(error),
    }
}

fn status_error(url: &str, status: u16) -> FetchError {
    FetchError::Status {
        url: url.to_owned(),
        status,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Arc, Mutex};

    use tempfile::TempDir;

    use super::*;

    pub const PLACES: &str = "start,end,country\n1.0.0.0,1.0.0.255,中国\n";

    /// A server that sends the prepared responses one after the other, each on a connection of its
    /// own, and records the heads of the requests.
    pub struct Publisher {
        address: String,
        heads: Arc<Mutex<Vec<String>>>,
        folder: TempDir,
    }

    pub trait Stream: Read + Write + Send {}
    impl<S: Read + Write + Send> Stream for S {}

    impl Publisher {
        pub fn new(responses: &[String]) -> Publisher {
            Publisher::with(responses, |stream| Box::new(stream))
        }

        fn with(
            responses: &[String],
            wrap: impl Fn(std::net::TcpStream) -> Box<dyn Stream> + Send + 'static,
        ) -> Publisher {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let mut responses: VecDeque<_> = responses
                .iter()
                .map(|response| response.replace("{address}", &address))
                .collect();
            let heads = Arc::<Mutex<Vec<String>>>::default();
            let noted = Arc::clone(&heads);
            std::thread::spawn(move || {
                while let Some(response) = responses.pop_front() {
                    let mut stream = BufReader::new(wrap(listener.accept().unwrap().0));
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        // A client that does not trust this server disconnects here.
                        if stream.read_line(&mut head).unwrap_or(0) == 0 {
                            break;
                        }
                    }
                    noted.lock().unwrap().push(head.to_lowercase());
                    let _ = stream.get_mut().write_all(response.as_bytes());
                    if response.is_empty() {
                        // Sends no response until the client times out.
                        let _ = stream.read(&mut [0]);
                    }
                }
            });
            let folder = tempfile::tempdir().unwrap();
            Publisher {
                address,
                heads,
                folder,
            }
        }

        pub fn published(&self) -> Published {
            Published {
                url: format!("http://{}/places.csv", self.address),
                file: self.file(),
                checksum_url: None,
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(30),
                ca_file: None,
            }
        }

        pub fn file(&self) -> PathBuf {
            self.folder.path().join("places.csv")
        }

        fn fetcher(&self) -> Fetcher {
            fetcher(&self.published()).unwrap()
        }

        /// Returns the version that each request named, without its quotes.
        pub fn asked(&self) -> Vec<Option<String>> {
            let heads = self.heads.lock().unwrap();
            let version = |head: &String| {
                let value = head.split_once("if-none-match: \"")?.1;
                Some(value.split('"').next()?.to_owned())
            };
            heads.iter().map(version).collect()
        }

        /// Returns the names of all files in the folder.
        fn files(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.folder.path()).unwrap();
            let name = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
            let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn fetcher(published: &Published) -> Result<Fetcher, FetchError> {
        Fetcher::new(published, Versions::default())
    }

    pub fn ok(headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )
    }

    pub fn status(line: &str) -> String {
        format!("HTTP/1.1 {line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    }

    fn sum(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        store(text.as_bytes(), &folder.path().join("x")).unwrap().1
    }

    #[test]
    fn the_sum_is_sha_256() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sum("abc"), known);
    }

    #[test]
    fn a_file_is_kept_with_its_version_and_not_fetched_twice() {
        let versions = "ETag: \"a1\"\r\nLast-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\n";
        let unchanged = status("304 Not Modified");
        let publisher = Publisher::new(&[ok(versions, PLACES), unchanged.clone(), unchanged]);
        let fetcher = publisher.fetcher();
        let download = fetcher.fetch().unwrap().expect("a first file");
        assert!(!publisher.file().exists());
        download.keep().unwrap();
        assert_eq!(std::fs::read_to_string(publisher.file()).unwrap(), PLACES);
        let mode = std::fs::metadata(publisher.file())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(publisher.files(), ["places.csv", "places.csv.version"]);
        assert!(fetcher.fetch().unwrap().is_none());
        // A second process, or this one after a restart.
        assert!(publisher.fetcher().fetch().unwrap().is_none());
        let heads = publisher.heads.lock().unwrap();
        assert!(!heads[0].contains("if-"), "{}", heads[0]);
        for head in &heads[1..] {
            assert!(head.contains("if-none-match: \"a1\"\r\n"), "{head}");
            assert!(
                head.contains("if-modified-since: mon, 23 nov 2026 10:00:00 gmt\r\n"),
                "{head}"
            );
        }
    }

    #[test]
    fn a_version_without_its_file_does_not_count() {
        let publisher = Publisher::new(&[ok("", PLACES)]);
        std::fs::write(version_file(&publisher.file()), "\"a1\"\n\n").unwrap();
        assert!(publisher.fetcher().fetch().unwrap().is_some());
        assert!(!publisher.heads.lock().unwrap()[0].contains("if-none-match"));
    }

    #[test]
    fn a_server_that_knows_no_versions_is_asked_in_vain_and_nothing_changes() {
        let publisher = Publisher::new(&[ok("", PLACES), ok("", PLACES), ok("", "start,end\n")]);
        let fetcher = publisher.fetcher();
        fetcher
            .fetch()
            .unwrap()
            .expect("a first file")
            .keep()
            .unwrap();
        assert!(fetcher.fetch().unwrap().is_none());
        assert!(fetcher.fetch().unwrap().is_some());
    }

    #[test]
    fn only_a_kept_or_rejected_version_is_not_downloaded_again() {
        let version = |name: &str| ok(&format!("ETag: \"{name}\"\r\n"), &format!("{PLACES}{name}"));
        let unchanged = || status("304 Not Modified");
        let publisher = Publisher::new(&[
            version("a"),
            unchanged(),
            version("a"),
            version("b"),
            unchanged(),
            version("c"),
            unchanged(),
            version("c"),
        ]);
        let fetcher = publisher.fetcher();
        let fetch = || fetcher.fetch().unwrap();
        let first = fetch().unwrap();
        assert!(fetch().is_none(), "it is still being checked");
        drop(first);
        fetch().expect("it was not decided on").keep().unwrap();
        fetch().expect("a second version").reject();
        assert!(fetch().is_none());
        fetch().expect("a third version").reject();
        assert!(fetch().is_none());
        fetcher.versions.retry_rejected();
        assert!(fetch().is_some());
        let asked = publisher.asked();
        let asked: Vec<_> = asked.iter().map(Option::as_deref).collect();
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        assert_eq!(asked, [None, a, None, a, b, b, c, a]);
    }

    #[test]
    fn an_older_download_leaves_the_newer_one_pending() {
        let version = |name: &str| ok(&format!("ETag: \"{name}\"\r\n"), &format!("{PLACES}{name}"));
        let publisher = Publisher::new(&[version("a"), version("b"), status("304 Not Modified")]);
        let fetcher = publisher.fetcher();
        let (first, second) = (fetcher.fetch().unwrap(), fetcher.fetch().unwrap());
        drop(first);
        assert!(fetcher.fetch().unwrap().is_none());
        drop(second);
        assert_eq!(publisher.asked()[2].as_deref(), Some("b"));
        assert_eq!(fetcher.versions.last(), Version::default());
    }

    #[test]
    fn a_file_that_cannot_be_kept_is_downloaded_again() {
        let version = || ok("ETag: \"a1\"\r\n", PLACES);
        let publisher = Publisher::new(&[version(), version()]);
        // No file can replace a folder.
        std::fs::create_dir(publisher.file()).unwrap();
        let fetcher = publisher.fetcher();
        assert!(fetcher.fetch().unwrap().unwrap().keep().is_err());
        std::fs::remove_dir(publisher.file()).unwrap();
        fetcher.fetch().unwrap().unwrap().keep().unwrap();
        assert_eq!(std::fs::read_to_string(publisher.file()).unwrap(), PLACES);
        assert_eq!(publisher.asked(), [None, None]);
    }

    #[test]
    fn a_file_is_kept_although_its_version_cannot_be_written() {
        let publisher =
            Publisher::new(&[ok("ETag: \"a1\"\r\n", PLACES), status("304 Not Modified")]);
        std::fs::create_dir(version_file(&publisher.file())).unwrap();
        let fetcher = publisher.fetcher();
        fetcher.fetch().unwrap().unwrap().keep().unwrap();
        assert_eq!(std::fs::read_to_string(publisher.file()).unwrap(), PLACES);
        assert!(fetcher.fetch().unwrap().is_none());
        assert_eq!(publisher.asked()[1].as_deref(), Some("a1"));
    }

    #[test]
    fn what_is_not_kept_leaves_nothing_behind() {
        let publisher = Publisher::new(&[ok("", PLACES)]);
        std::fs::write(publisher.file(), "before").unwrap();
        drop(publisher.fetcher().fetch().unwrap());
        assert_eq!(publisher.files(), ["places.csv"]);
        assert_eq!(std::fs::read_to_string(publisher.file()).unwrap(), "before");
    }

    /// Checks that a fetch fails and leaves the previous file in place.
    #[track_caller]
    fn check_failure(responses: &[String], change: impl FnOnce(&mut Published), expected: &[&str]) {
        let publisher = Publisher::new(responses);
        std::fs::write(publisher.file(), "before").unwrap();
        let mut source = publisher.published();
        change(&mut source);
        let fetched = fetcher(&source).and_then(|fetcher| fetcher.fetch());
        let error = fetched.err().expect("it fails").to_string();
        for part in expected {
            let part = part.replace("{address}", &publisher.address);
            assert!(error.contains(&part), "{part:?} in {error:?}");
        }
        assert_eq!(publisher.files(), ["places.csv"]);
        assert_eq!(std::fs::read_to_string(publisher.file()).unwrap(), "before");
    }

    #[test]
    fn an_answer_that_is_no_file_is_an_error() {
        for line in [
            "404 Not Found",
            "500 Internal Server Error",
            "204 No Content",
        ] {
            check_failure(
                &[status(line)],
                |_| {},
                &["http://{address}/places.csv: status ", &line[..3]],
            );
        }
    }

    #[test]
    fn a_file_that_breaks_off_is_an_error() {
        let whole = ok("", PLACES);
        check_failure(
            &[whole[..whole.len() - 1].to_owned()],
            |_| {},
            &["/places.csv: "],
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstart\r\n";
        check_failure(&[chunked.to_owned()], |_| {}, &["/places.csv: "]);
    }

    #[test]
    fn a_server_that_is_slow_is_left() {
        let short = |published: &mut Published| published.timeout = Duration::from_millis(50);
        check_failure(&[String::new()], short, &["timeout"]);
    }

    #[test]
    fn redirects_are_followed_and_not_for_ever() {
        let redirect = "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n\
                        Location: http://{address}/places.csv\r\n\r\n";
        let redirect = redirect.to_owned();
        let publisher = Publisher::new(&[redirect.clone(), ok("", PLACES)]);
        assert!(publisher.fetcher().fetch().unwrap().is_some());
        check_failure(&vec![redirect; 10], |_| {}, &["redirect"]);
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let elsewhere = |published: &mut Published| published.url = format!("http://{nobody}/");
        check_failure(&[], elsewhere, &[&format!("http://{nobody}/: ")]);
    }

    #[test]
    fn a_file_has_the_checksum_that_is_published() {
        let line = format!("{}  places.csv\n", sum(PLACES).to_uppercase());
        let publisher = Publisher::new(&[ok("", PLACES), ok("", &line)]);
        let mut source = publisher.published();
        source.checksum_url = Some(format!("{}.sha256", source.url));
        let download = fetcher(&source).unwrap().fetch().unwrap();
        assert_eq!(
            std::fs::read_to_string(download.unwrap().path()).unwrap(),
            PLACES
        );
    }

    #[test]
    fn a_wrong_checksum_is_an_error_and_so_is_none() {
        let with_sum = |published: &mut Published| {
            published.checksum_url = Some(format!("{}.sha256", published.url));
        };
        check_failure(
            &[ok("", PLACES), ok("", &sum("other"))],
            with_sum,
            &[
                "the SHA-256 is",
                &sum(PLACES),
                "/places.csv.sha256 says",
                &sum("other"),
            ],
        );
        check_failure(
            &[ok("", PLACES), ok("", "<html>")],
            with_sum,
            &["/places.csv.sha256: does not begin with a SHA-256"],
        );
        check_failure(
            &[ok("", PLACES), status("404 Not Found")],
            with_sum,
            &["/places.csv.sha256: status 404"],
        );
    }

    #[test]
    fn https_is_for_those_that_are_trusted() {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into()),
        )
        .unwrap();
        let config = Arc::new(config);
        let publisher = Publisher::with(&vec![ok("", PLACES); 2], move |stream| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            Box::new(rustls::StreamOwned::new(session, stream))
        });
        let mut source = publisher.published();
        let port = publisher.address.rsplit(':').next().unwrap();
        source.url = format!("https://localhost:{port}/places.csv");
        assert!(fetcher(&source).unwrap().fetch().is_err());
        let ca_file = publisher.folder.path().join("ca.pem");
        std::fs::write(&ca_file, key.cert.pem()).unwrap();
        source.ca_file = Some(ca_file.clone());
        assert!(fetcher(&source).unwrap().fetch().unwrap().is_some());
        std::fs::write(&ca_file, "nothing").unwrap();
        let error = fetcher(&source).err().unwrap().to_string();
        assert!(
            error.ends_with("ca.pem: there is no certificate in it"),
            "{error}"
        );
    }
}
