//! An origin that speaks HTTP/2, or TLS, or both. It answers with how it was spoken to:
//! `protocol server-name client-certificate authority method path body`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A certificate and its key, signed by itself.
pub struct SelfSigned(rcgen::CertifiedKey<rcgen::KeyPair>);

impl SelfSigned {
    pub fn of(name: &str) -> SelfSigned {
        SelfSigned(rcgen::generate_simple_self_signed([name.to_owned()]).unwrap())
    }

    /// Marked as the certificate of an authority, as `openssl req -x509` does it.
    pub fn authority(name: &str) -> SelfSigned {
        SelfSigned::authority_until(name, 2096)
    }

    /// As [`SelfSigned::authority`], until the start of a year.
    pub fn authority_until(name: &str, year: i32) -> SelfSigned {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let signing_key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        SelfSigned(rcgen::CertifiedKey { cert, signing_key })
    }

    pub fn certificate(&self) -> String {
        self.0.cert.pem()
    }

    pub fn key(&self) -> String {
        self.0.signing_key.serialize_pem()
    }
}

/// What an origin speaks.
#[derive(Default)]
pub struct Speaks<'i> {
    /// TLS, with this certificate.
    pub tls: Option<&'i SelfSigned>,
    /// And only to who shows this one.
    pub client: Option<&'i SelfSigned>,
    pub http2: bool,
}

pub struct Secure {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    _stop: oneshot::Sender<()>,
}

/// What is known of a connection before its first request.
#[derive(Clone)]
struct Spoken {
    server_name: String,
    has_client: bool,
    /// Of all connections.
    requests: Arc<AtomicUsize>,
}

impl Secure {
    pub fn start(speaks: &Speaks) -> Secure {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (config, http2) = (tls_config(speaks), speaks.http2);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, config, http2, &count, &counted) => {}
                    _ = stopped => {}
                }
            });
        });
        Secure {
            address,
            connections,
            requests,
            _stop: stop,
        }
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests were answered.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn tls_config(speaks: &Speaks) -> Option<Arc<ServerConfig>> {
    let SelfSigned(own) = speaks.tls?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match speaks.client {
        Some(SelfSigned(client)) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = builder.with_single_cert(vec![own.cert.der().clone()], key);
    let mut config = config.unwrap();
    config.alpn_protocols = if speaks.http2 {
        vec![b"h2".to_vec()]
    } else {
        vec![b"http/1.1".to_vec()]
    };
    Some(Arc::new(config))
}

async fn accept(
    listener: TcpListener,
    config: Option<Arc<ServerConfig>>,
    http2: bool,
    connections: &AtomicUsize,
    requests: &Arc<AtomicUsize>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::SeqCst);
        let (config, requests) = (config.clone(), Arc::clone(requests));
        tokio::spawn(async move {
            let plain = Spoken {
                server_name: "-".to_owned(),
                has_client: false,
                requests: Arc::clone(&requests),
            };
            let Some(config) = config else {
                return serve(stream, http2, plain).await;
            };
            // Who does not trust us leaves; the test sees it at its own end.
            let accepted = tokio_rustls::TlsAcceptor::from(config).accept(stream).await;
            if let Ok(stream) = accepted {
                let session = stream.get_ref().1;
                let spoken = Spoken {
                    server_name: session.server_name().unwrap_or("-").to_owned(),
                    has_client: session.peer_certificates().is_some(),
                    requests,
                };
                serve(stream, http2, spoken).await;
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, http2: bool, spoken: Spoken) {
    // Errors are connections that were cut.
    if http2 {
        let _ = serve_http2(stream, spoken).await;
    } else {
        let _ = serve_http1(stream, spoken).await;
    }
}

fn answer(spoken: &Spoken, protocol: &str, request: [&str; 4]) -> Bytes {
    spoken.requests.fetch_add(1, Ordering::SeqCst);
    let client = if spoken.has_client { "client" } else { "-" };
    let name = &spoken.server_name;
    format!("{protocol} {name} {client} {}", request.join(" ")).into()
}

async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    spoken: Spoken,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            values.next().map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let body = String::from_utf8(body).unwrap();
        let authority = header("host").unwrap_or_default();
        let text = answer(&spoken, "http1", [&authority, method, path, &body]);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&text).await?;
        stream.flush().await?;
    }
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    spoken: Spoken,
) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let spoken = spoken.clone();
        tokio::spawn(async move {
            let (head, mut incoming) = request.into_parts();
            let mut body = Vec::new();
            while let Some(part) = incoming.data().await {
                let part = part?;
                incoming.flow_control().release_capacity(part.len())?;
                body.extend_from_slice(&part);
            }
            let body = String::from_utf8(body).unwrap();
            let authority = head.uri.authority().map_or("-", |a| a.as_str());
            let request = [authority, head.method.as_str(), head.uri.path(), &body];
            let mut out = respond.send_response(http::Response::new(()), false)?;
            out.send_data(answer(&spoken, "http2", request), true)
        });
    }
    Ok(())
}
