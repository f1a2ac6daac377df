//! Stage of one configuration: its listeners on free ports of loopback, its upstreams on the recording
//! origin, its folders below a temporary one. Everything else of the file stays as it is, line by line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::nginx_file::{self, Directive, Word};
use crate::origin::{Origin, Speaks};
use crate::sample;

/// A listener of the file.
#[derive(Debug, Clone)]
pub struct Listener {
    pub address: SocketAddr,
    pub tls: bool,
    pub proxy_protocol: bool,
    /// HTTP/2 without TLS; nginx 1.22 speaks nothing else there.
    pub http2: bool,
}

pub struct Stage {
    pub folder: TempDir,
    /// File that both servers read.
    pub file: PathBuf,
    /// Directives of that file.
    pub directives: Vec<Directive>,
    /// Listeners by the address and port that the file has.
    pub listeners: BTreeMap<String, Listener>,
    pub origin: Origin,
    ports: Vec<Socket>,
}

/// Directives that are left out, because they are about the machine and not about answers.
const LEFT_OUT: [&str; 25] = [
    "access_log",
    "client_body_temp_path",
    "fastcgi_temp_path",
    "proxy_temp_path",
    "daemon",
    "env",
    "error_log",
    "load_module",
    "lock_file",
    "master_process",
    "modsecurity*",
    "pcre_jit",
    "pid",
    "scgi_temp_path",
    "uwsgi_temp_path",
    "ssl_dhparam",
    "ssl_ecdh_curve",
    "ssl_stapling*",
    "ssl_trusted_certificate",
    "thread_pool",
    "user",
    "worker_processes",
    "worker_rlimit_nofile",
    "worker_cpu_affinity",
    "worker_shutdown_timeout",
];

/// Edits of the file's text, from its end to its start.
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    fn word(&mut self, word: &Word, text: impl Into<String>) {
        self.0.push((word.span.clone(), text.into()));
    }

    /// Blanks a directive and keeps its line breaks.
    fn remove(&mut self, directive: &Directive, text: &str) {
        let lines = text[directive.span.clone()].matches('\n').count();
        self.0.push((directive.span.clone(), "\n".repeat(lines)));
    }

    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.0.push((at..at, text.into()));
    }

    fn applied(mut self, text: &str) -> String {
        self.0
            .sort_by_key(|(range, _)| std::cmp::Reverse((range.start, range.end)));
        let mut text = text.to_owned();
        let mut until = text.len();
        for (range, new) in self.0 {
            // Within a directive that is left out.
            if range.end > until {
                continue;
            }
            until = range.start;
            text.replace_range(range, &new);
        }
        text
    }
}

impl Stage {
    /// Stages a file of nginx: a whole one, or the content of an `http` block.
    pub fn of(file: &Path) -> Stage {
        let text = std::fs::read_to_string(file).unwrap();
        let directives = nginx_file::read(&text);
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage {
            file: folder.path().join("nginx.conf"),
            folder,
            directives: Vec::new(),
            listeners: BTreeMap::new(),
            origin: Origin::default(),
            ports: Vec::new(),
        };
        stage.write_common_files();
        let mut edits = Edits(Vec::new());
        nginx_file::walk(&directives, &mut |one| {
            stage.edit(one, &directives, &text, &mut edits);
        });
        let paths = stage.temporary_paths();
        if let Some(http) = directives.iter().find(|one| one.name() == "http") {
            edits.insert(http.open.unwrap(), paths);
        } else {
            let has_types = text.contains("mime.types");
            let types = if has_types {
                ""
            } else {
                "include /etc/nginx/mime.types;"
            };
            edits.insert(0, format!("events {{}} http {{ {types} {paths} "));
            edits.insert(text.len(), "}\n");
        }
        let text = edits.applied(&text);
        std::fs::write(&stage.file, &text).unwrap();
        stage.directives = nginx_file::read(&text);
        stage.write_files();
        stage
    }

    /// The `server` blocks of the staged file.
    pub fn servers(&self) -> Vec<&Directive> {
        let http = self.directives.iter().find(|one| one.name() == "http");
        http.map(|http| http.named("server").collect())
            .unwrap_or_default()
    }

    fn edit(&mut self, one: &Directive, all: &[Directive], text: &str, edits: &mut Edits) {
        let left_out = |known: &&str| match known.strip_suffix('*') {
            Some(beginning) => one.name().starts_with(beginning),
            None => one.name() == *known,
        };
        if LEFT_OUT.iter().any(left_out) {
            return edits.remove(one, text);
        }
        match one.name() {
            "server" if one.open.is_some() => self.server(one, text, edits),
            "upstream" => self.upstream(one, edits),
            "proxy_pass" | "grpc_pass" | "fastcgi_pass" | "uwsgi_pass" => {
                self.pass(one, all, edits);
            }
            "root" | "alias" => {
                let folder = one.arg(0).trim_matches('"').to_owned();
                let separator = if folder.starts_with('/') { "" } else { "/" };
                let path = format!("{}/files{separator}{folder}", self.folder.path().display());
                edits.word(&one.words[1], format!("\"{path}\""));
            }
            "ssl_certificate"
            | "proxy_ssl_certificate"
            | "ssl_client_certificate"
            | "proxy_ssl_trusted_certificate" => {
                edits.word(&one.words[1], self.path("cert.pem"));
            }
            "ssl_certificate_key" | "proxy_ssl_certificate_key" => {
                edits.word(&one.words[1], self.path("key.pem"));
            }
            "proxy_cache_path" | "fastcgi_cache_path" => {
                edits.word(&one.words[1], self.path("cache"));
            }
            "auth_basic_user_file" => edits.word(&one.words[1], self.path("users")),
            "include" if one.arg(0).ends_with("mime.types") => {
                edits.word(&one.words[1], "/etc/nginx/mime.types");
            }
            "include" if one.arg(0).ends_with("fastcgi_params") => {
                edits.word(&one.words[1], "/etc/nginx/fastcgi_params");
            }
            _ => {}
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Puts the listeners of a server on free ports. Those of IPv6 are left out.
    fn server(&mut self, server: &Directive, text: &str, edits: &mut Edits) {
        let ssl = server.named("ssl").any(|ssl| ssl.arg(0) == "on");
        let mut known: Vec<SocketAddr> = Vec::new();
        for listen in server.named("listen") {
            let address = listen.arg(0);
            if address.starts_with('[')
                || address.starts_with("unix:")
                || listen.args().any(|a| a == "quic")
            {
                edits.remove(listen, text);
                continue;
            }
            let port = self.listener(address, listen, ssl);
            if known.contains(&port) {
                edits.remove(listen, text);
                continue;
            }
            known.push(port);
            edits.word(&listen.words[1], port.to_string());
            for word in &listen.words[2..] {
                let kept = ["ssl", "http2", "default_server", "proxy_protocol"];
                if !kept.contains(&word.text.as_str()) {
                    edits.word(word, "");
                }
            }
        }
        if known.is_empty() {
            let port = self.listener("80", server, ssl);
            edits.insert(server.open.unwrap(), format!(" listen {port}; "));
        }
    }

    fn listener(&mut self, written: &str, listen: &Directive, ssl: bool) -> SocketAddr {
        let written = written
            .trim_start_matches("*:")
            .trim_start_matches("0.0.0.0:");
        let has = |word: &str| listen.name() == "listen" && listen.args().any(|one| one == word);
        if !self.listeners.contains_key(written) {
            let address = self.free_port();
            self.listeners.insert(
                written.to_owned(),
                Listener {
                    address,
                    tls: false,
                    proxy_protocol: false,
                    http2: false,
                },
            );
        }
        let listener = self.listeners.get_mut(written).unwrap();
        listener.tls |= ssl || has("ssl");
        listener.proxy_protocol |= has("proxy_protocol");
        listener.http2 |= has("http2") && !listener.tls;
        listener.address
    }

    /// A port of loopback that no other process gets. It is bound and does not listen, so a server
    /// that asks for it by its number can have it.
    fn free_port(&mut self) -> SocketAddr {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        self.ports.push(socket);
        address
    }

    /// Puts the peers of an upstream on the origin. They share a name, since the order of peers is not
    /// compared.
    fn upstream(&mut self, upstream: &Directive, edits: &mut Edits) {
        let name = upstream.arg(0).to_owned();
        for server in upstream.named("server") {
            let address = self.origin.listen(&name, Speaks::Http);
            edits.word(&server.words[1], address.to_string());
            let others = server.words[2..]
                .iter()
                .filter(|word| word.text == "resolve");
            others.for_each(|word| edits.word(word, ""));
        }
    }

    fn pass(&mut self, pass: &Directive, all: &[Directive], edits: &mut Edits) {
        let speaks = match pass.name() {
            "fastcgi_pass" => Speaks::FastCgi,
            _ => Speaks::Http,
        };
        let written = pass.arg(0);
        let (scheme, rest) = written
            .split_once("://")
            .map_or(("", written), |(s, r)| (s, r));
        let end = match rest.strip_prefix("unix:") {
            Some(socket) => socket.find(':').map_or(rest.len(), |at| at + 6),
            None => rest.find(['/', '?']).unwrap_or(rest.len()),
        };
        let (host, path) = rest.split_at(end);
        let path = path.strip_prefix(':').unwrap_or(path);
        if host.contains('$') || scheme.contains('$') {
            return self.variables(host, scheme, all, edits);
        }
        let names = nginx_file::everywhere(all, "upstream");
        if let Some(upstream) = names.iter().find(|upstream| upstream.arg(0) == host) {
            self.origin.speaks(upstream.arg(0), speaks);
            // The peers speak no TLS here.
            return edits.word(&pass.words[1], format!("{}{host}{path}", plain(scheme)));
        }
        let address = self.origin.listen(host, speaks);
        edits.word(&pass.words[1], format!("{}{address}{path}", plain(scheme)));
    }

    /// Sets the variables that name an upstream, where `set` gives them one value.
    fn variables(&mut self, host: &str, scheme: &str, all: &[Directive], edits: &mut Edits) {
        let address = self.origin.listen(host, Speaks::Http);
        let name = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        let (server, port) = (name(host), host.split(':').nth(1).unwrap_or_default());
        for set in nginx_file::everywhere(all, "set") {
            let value = set.words.get(2);
            let Some(value) = value.filter(|value| !value.text.contains('$')) else {
                continue;
            };
            if set.arg(0) == scheme {
                edits.word(value, "http");
            } else if set.arg(0) == port {
                edits.word(value, address.port().to_string());
            } else if set.arg(0) == server && port.is_empty() {
                let (scheme, path) = match value.text.split_once("://") {
                    Some((_, rest)) => ("http://", rest.find('/').map_or("", |at| &rest[at..])),
                    None => ("", ""),
                };
                edits.word(value, format!("{scheme}{address}{path}"));
            } else if set.arg(0) == server {
                edits.word(value, "127.0.0.1");
            }
        }
    }

    fn temporary_paths(&self) -> String {
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = kinds.map(|kind| format!(" {kind}_temp_path {};", self.path(kind)));
        paths.concat()
    }

    fn write_common_files(&self) {
        let names = ["localhost".to_owned(), "*.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(self.path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.path("users"), "user:{PLAIN}secret\n").unwrap();
        std::fs::create_dir(self.folder.path().join("files")).unwrap();
    }

    /// Puts files into each folder that the file names, and into those of its locations there.
    fn write_files(&self) {
        let mut folders = Vec::new();
        nginx_file::walk(&self.directives, &mut |one| {
            if matches!(one.name(), "root" | "alias") && !one.arg(0).contains('$') {
                folders.push(PathBuf::from(one.arg(0)));
            }
        });
        let mut prefixes = vec![String::new()];
        let mut scripts = Vec::new();
        for location in nginx_file::everywhere(&self.directives, "location") {
            let regexes = location.args().skip(1);
            let samples = regexes.flat_map(|regex| sample::of(regex.trim_end_matches('$')));
            scripts.extend(
                samples.filter_map(|path| Some(format!("{}.php", path.split_once(".php")?.0))),
            );
        }
        for location in nginx_file::everywhere(&self.directives, "location") {
            let path = location.args().find(|arg| arg.starts_with('/'));
            let path = path.unwrap_or_default().trim_matches('/');
            let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
            if path.chars().all(plain) && !path.contains("..") {
                prefixes.push(path.to_owned());
            }
        }
        for folder in &folders {
            for prefix in &prefixes {
                write_folder(&folder.join(prefix));
            }
            for script in &scripts {
                // Another file may be where a folder is needed.
                let _ = std::fs::write(folder.join(script.trim_start_matches('/')), "<?php ?>\n");
            }
        }
    }
}

fn plain(scheme: &str) -> &str {
    match scheme {
        "" => "",
        "grpc" | "grpcs" => "grpc://",
        _ => "http://",
    }
}

/// Names and contents of the files in each folder.
pub const FILES: [(&str, &str); 13] = [
    ("index.html", "<html>index</html>\n"),
    ("index.php", "<?php index ?>\n"),
    ("a.txt", "0123456789abcdefghijklmnopqrstuvwxyz\n"),
    ("a.php", "<?php a ?>\n"),
    ("app.js", "var app;\n"),
    ("style.css", "body {}\n"),
    ("logo.png", "png\n"),
    ("dump.sql", "secrets\n"),
    (".env", "KEY=secret\n"),
    ("404.html", "<html>not here</html>\n"),
    ("50x.html", "<html>broken</html>\n"),
    ("500.html", "<html>broken</html>\n"),
    ("sub/index.html", "<html>sub</html>\n"),
];

/// Fills a folder, unless a file is in its place.
fn write_folder(folder: &Path) {
    for (name, content) in FILES {
        let file = folder.join(name);
        if std::fs::create_dir_all(file.parent().unwrap()).is_err() || file.exists() {
            continue;
        }
        let content = if name == "app.js" {
            content.repeat(400)
        } else {
            content.to_owned()
        };
        std::fs::write(&file, content).unwrap();
        // One time for all, in the past.
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        let file = std::fs::File::options().append(true).open(file).unwrap();
        file.set_modified(time).unwrap();
    }
}
