//! Directives that no concern has handled: those that geogate does not need, those that it does not
//! support, and unknown ones.

use super::super::Output;
use super::super::notes::Fate;
use super::super::tree::Directive;

/// Note on media types.
pub(super) const TYPES: &str =
    "Files have the types that are known by their names; `files.types` adds others.";

/// Names of directives, with their outcome and a note. A name that ends with `*` is a prefix; with
/// `*` at both ends it is any part. The first match counts.
const KNOWN: [(&[&str], Fate, &str); 55] = [
    (&["http"], Fate::Needless, "There is nothing in it."),
    (
        &["user"],
        Fate::Needless,
        "systemd starts geogate as a user: `User=` or `DynamicUser=`.",
    ),
    (
        &["pid"],
        Fate::Needless,
        "systemd needs none; `geogate run --daemon` writes `server.pid_file`.",
    ),
    (
        &[
            "daemon",
            "master_process",
            "working_directory",
            "env",
            "lock_file",
            "worker_priority",
            "worker_cpu_affinity",
            "worker_rlimit_core",
            "timer_resolution",
            "thread_pool",
            "pcre_jit",
            "load_module",
            "ssl_engine",
            "debug_points",
        ],
        Fate::Needless,
        "The process is systemd's to arrange, and modules are built in.",
    ),
    (
        &[
            "sendfile*",
            "tcp_nopush",
            "tcp_nodelay",
            "aio*",
            "directio*",
            "output_buffers",
            "read_ahead",
            "postpone_output",
            "min_delete_depth",
            "open_file_cache*",
            "disable_symlinks",
        ],
        Fate::Needless,
        "How bytes are moved is geogate's own affair.",
    ),
    (
        &["types", "default_type", "types_hash*"],
        Fate::Needless,
        TYPES,
    ),
    (
        &["charset*", "override_charset", "source_charset"],
        Fate::Differs,
        "No charset is added to Content-Type; `files.types` may name one.",
    ),
    (
        &["max_ranges"],
        Fate::Needless,
        "No files are served here, and the ranges of an upstream's responses are its own.",
    ),
    (
        &["etag", "if_modified_since", "merge_slashes"],
        Fate::Differs,
        "geogate's own: files have ETag, Last-Modified and ranges, and `//` is `/`.",
    ),
    (
        &[
            "keepalive_requests",
            "keepalive_timeout",
            "send_timeout",
            "client_header_timeout",
        ],
        Fate::Minor,
        "There is one for all: `[client]`.",
    ),
    (
        &[
            "variables_hash*",
            "server_names_hash*",
            "map_hash*",
            "proxy_headers_hash*",
            "limit_conn_log_level",
            "limit_req_log_level",
            "connection_pool_size",
            "request_pool_size",
        ],
        Fate::Needless,
        "Tables are as large as they need to be.",
    ),
    (
        &[
            "server_tokens",
            "server_name_in_redirect",
            "port_in_redirect",
            "absolute_redirect",
            "chunked_transfer_encoding",
            "keepalive_disable",
            "keepalive_time",
            "reset_timedout_connection",
            "lingering_*",
            "ignore_invalid_headers",
            "msie_*",
            "log_not_found",
            "log_subrequest",
            "recursive_error_pages",
            "send_lowat",
            "subrequest_output_buffer_size",
            "client_header_buffer_size",
            "auth_delay",
            "http2_*",
            "http3*",
        ],
        Fate::Needless,
        "geogate does what is right here by itself.",
    ),
    (
        &["underscores_in_headers"],
        Fate::Needless,
        "Names with `_` are passed on, but for those that geogate writes itself.",
    ),
    (
        &["client_body_*"],
        Fate::Needless,
        "Bodies are passed on as they come and never stored.",
    ),
    (
        &[
            "proxy_buffer*",
            "proxy_busy_buffers_size",
            "proxy_temp*",
            "proxy_max_temp_file_size",
            "proxy_request_buffering",
            "grpc_buffer_size",
            "proxy_limit_rate",
        ],
        Fate::Needless,
        "Bodies are passed on as they come and never stored.",
    ),
    (
        &[
            "proxy_http_version",
            "proxy_socket_keepalive",
            "proxy_ignore_client_abort",
            "proxy_ignore_headers",
            "proxy_pass_header",
            "grpc_pass_header",
            "proxy_send_lowat",
            "proxy_force_ranges",
            "proxy_next_upstream_timeout",
            "grpc_next_upstream_timeout",
        ],
        Fate::Needless,
        "Peers are spoken to in HTTP/1.1 with kept connections, and told everything.",
    ),
    (
        &[
            "proxy_headers*",
            "proxy_ssl_session_reuse",
            "proxy_ssl_protocols",
            "proxy_ssl_ciphers",
            "proxy_ssl_verify_depth",
            "grpc_ssl_*",
            "proxy_ssl_*",
        ],
        Fate::Minor,
        "TLS to peers needs `tls = true` in the upstream; what is good in it is chosen by itself.",
    ),
    (
        &[
            "ssl_ciphers",
            "ssl_prefer_server_ciphers",
            "ssl_ecdh_curve",
            "ssl_dhparam",
            "ssl_session_cache",
            "ssl_session_timeout",
            "ssl_session_tickets",
            "ssl_buffer_size",
            "ssl_verify_depth",
            "ssl_conf_command",
            "ssl_protocols",
            "ssl",
            "ssl_early_data",
            "ssl_reject_handshake",
            "ssl_trusted_certificate",
            "http2",
        ],
        Fate::Needless,
        "What is good in TLS is chosen by itself.",
    ),
    (
        &["ssl_stapling*"],
        Fate::Minor,
        "No OCSP answers are stapled.",
    ),
    (
        &[
            "ssl_session_ticket_key",
            "ssl_password_file",
            "ssl_crl",
            "ssl_ocsp*",
        ],
        Fate::Lost,
        "TLS has nothing like it here.",
    ),
    (
        &[
            "gzip_vary",
            "gzip_proxied",
            "gzip_http_version",
            "gzip_buffers",
            "gzip_disable",
            "gunzip*",
            "brotli_*",
            "zstd_*",
        ],
        Fate::Needless,
        "Compression does what is right here by itself.",
    ),
    (
        &["gzip_static", "brotli_static", "zstd_static"],
        Fate::Needless,
        "No files are served here.",
    ),
    (
        &["resolver", "resolver_timeout"],
        Fate::Needless,
        "Names are resolved by the system's resolvers, again and again; `resolver` of an upstream names others.",
    ),
    (
        &["proxy_redirect"],
        Fate::Needless,
        "No location with `proxy_pass` has it from here.",
    ),
    (
        &["proxy_cookie_*"],
        Fate::Needless,
        "No location with `proxy_pass` has it from here.",
    ),
    (
        &[
            "proxy_intercept_errors",
            "fastcgi_intercept_errors",
            "grpc_intercept_errors",
        ],
        Fate::Needless,
        "Nothing that it is for is passed on here.",
    ),
    (
        &[
            "proxy_cache",
            "proxy_store",
            "slice",
            "proxy_cache_use_stale",
        ],
        Fate::Lost,
        "There is no cache.",
    ),
    (
        &["proxy_cache*", "proxy_store*", "proxy_no_cache"],
        Fate::Minor,
        "There is no cache.",
    ),
    (
        &["proxy_bind"],
        Fate::Lost,
        "The system chooses the address that peers are reached from.",
    ),
    (
        &[
            "proxy_method",
            "proxy_set_body",
            "proxy_pass_request_headers",
            "proxy_pass_request_body",
        ],
        Fate::Lost,
        "Requests are passed on as they are.",
    ),
    (
        &[
            "proxy_set_header",
            "grpc_set_header",
            "proxy_hide_header",
            "proxy_connect_timeout",
            "proxy_read_timeout",
            "proxy_send_timeout",
            "proxy_next_upstream*",
            "grpc_*",
        ],
        Fate::Needless,
        "Nothing is passed on here, or all that is has its own.",
    ),
    (
        &[
            "add_header",
            "expires",
            "root",
            "index",
            "try_files",
            "autoindex*",
            "gzip",
            "brotli",
            "zstd",
            "client_max_body_size",
            "allow",
            "deny",
            "limit_req",
            "limit_conn",
        ],
        Fate::Needless,
        "Every location within has its own, or there is none.",
    ),
    (
        &["add_trailer"],
        Fate::Lost,
        "Trailers are passed on and not added.",
    ),
    (
        &[
            "access_log",
            "error_log",
            "log_format",
            "open_log_file_cache",
        ],
        Fate::Minor,
        "There is one log for all.",
    ),
    (
        &[
            "map",
            "geo",
            "split_clients",
            "perl_set",
            "js_set",
            "js_import",
        ],
        Fate::Lost,
        "This cannot be a `[[variable]]`. What uses it is listed by itself.",
    ),
    (
        &["set"],
        Fate::Needless,
        "Where it is used, its value stands.",
    ),
    (&["break"], Fate::Needless, "Nothing comes after it."),
    (
        &[
            "sub_filter*",
            "addition_*",
            "add_before_body",
            "add_after_body",
            "ssi*",
            "xslt*",
            "image_filter*",
        ],
        Fate::Lost,
        "Bodies are passed on as they are.",
    ),
    (&["mirror*"], Fate::Lost, "Requests are not copied."),
    (
        &["limit_rate*"],
        Fate::Minor,
        "Responses are as fast as the client takes them.",
    ),
    (
        &["satisfy"],
        Fate::Needless,
        "There is nothing here that it could combine.",
    ),
    (
        &[
            "auth_basic*",
            "auth_request*",
            "auth_jwt*",
            "auth_digest*",
            "secure_link*",
            "valid_referers",
            "referer_hash*",
        ],
        Fate::Needless,
        "See the location that it protects.",
    ),
    (
        &[
            "health_check",
            "check",
            "match",
            "status_zone",
            "api",
            "check_*",
        ],
        Fate::Lost,
        "`upstream.health_check` asks peers how they are.",
    ),
    (
        &["stub_status"],
        Fate::Lost,
        "Metrics have a listener of their own: `[admin] listen`.",
    ),
    (
        &["*_by_lua*", "lua_*", "js_*", "perl_*"],
        Fate::Lost,
        "geogate runs no scripts.",
    ),
    (
        &[
            "fastcgi_buffer*",
            "fastcgi_busy_buffers_size",
            "fastcgi_temp_*",
            "fastcgi_max_temp_file_size",
            "fastcgi_request_buffering",
            "fastcgi_socket_keepalive",
            "fastcgi_keep_conn",
            "fastcgi_index",
            "fastcgi_split_path_info",
            "fastcgi_param",
            "fastcgi_connect_timeout",
            "fastcgi_read_timeout",
            "fastcgi_send_timeout",
            "fastcgi_next_upstream*",
        ],
        Fate::Needless,
        "Bytes are passed on as they come; what `fastcgi_pass` needs is carried over with it.",
    ),
    (
        &["fastcgi_cache", "fastcgi_cache_use_stale"],
        Fate::Lost,
        "There is no cache.",
    ),
    (
        &["fastcgi_cache*", "fastcgi_no_cache"],
        Fate::Minor,
        "There is no cache.",
    ),
    (
        &["fastcgi_hide_header", "fastcgi_pass_header"],
        Fate::Needless,
        "No location with `fastcgi_pass` has it from here, or all headers are passed on.",
    ),
    (
        &["fastcgi_*"],
        Fate::Lost,
        "There is nothing like it for FastCGI.",
    ),
    (
        &["uwsgi_*", "scgi_*", "memcached_*"],
        Fate::Needless,
        "Upstreams speak HTTP or FastCGI. Where requests go to another one is listed by itself.",
    ),
    (
        &[
            "dav_access",
            "create_full_put_path",
            "dav_methods",
            "dav_ext_methods",
            "min_delete_depth",
            "mp4*",
            "flv",
            "hls",
            "empty_gif",
            "random_index",
            "echo",
            "pagespeed*",
            "userid*",
            "fancyindex*",
            "vhost_traffic_status*",
            "opentracing*",
            "otel_*",
            "opentelemetry*",
            "google_perftools_profiles",
            "more_*",
            "headers_more*",
        ],
        Fate::Lost,
        "geogate has nothing like it.",
    ),
    (
        &[
            "geoip*",
            "geoip2*",
            "limit_zone",
            "limit_req*",
            "limit_conn*",
        ],
        Fate::Lost,
        "It is carried over from `http` alone.",
    ),
    (
        &[
            "ssl_*",
            "quic_*",
            "proxy_protocol_timeout",
            "uninitialized_variable_warn",
        ],
        Fate::Minor,
        "geogate has nothing like it.",
    ),
    (
        &["gzip_*"],
        Fate::Needless,
        "Compression does what is right here by itself.",
    ),
];

/// Directives that other parts of the translation handle, beside those above.
const TRANSLATED: [&str; 38] = [
    "alias",
    "break",
    "client_body_timeout",
    "client_max_body_size",
    "error_page",
    "events",
    "geo",
    "grpc_pass",
    "gzip_comp_level",
    "gzip_min_length",
    "gzip_types",
    "if",
    "include",
    "index",
    "internal",
    "keepalive_requests",
    "keepalive_timeout",
    "large_client_header_buffers",
    "limit_except",
    "listen",
    "location",
    "mail",
    "more_clear_headers",
    "proxy_pass",
    "real_ip_header",
    "real_ip_recursive",
    "return",
    "rewrite",
    "rewrite_log",
    "server",
    "server_name",
    "set_real_ip_from",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_verify_client",
    "stream",
    "upstream",
];

/// Returns `true` if directives of this name are known.
pub(super) fn is_known(name: &str) -> bool {
    TRANSLATED.contains(&name) || of(name).is_some() || name.starts_with("worker_")
}

fn of(name: &str) -> Option<&'static (&'static [&'static str], Fate, &'static str)> {
    KNOWN
        .iter()
        .find(|(names, ..)| names.iter().any(|pattern| fits(pattern, name)))
}

fn fits(pattern: &str, name: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(middle), Some(_)) => name.contains(middle.trim_start_matches('*')),
        (Some(beginning), None) => name.starts_with(beginning),
        _ => name == pattern,
    }
}

/// Returns `true` for a block whose content means nothing by itself.
fn is_closed(block: &Directive) -> bool {
    block.is_data() || matches!(block.name.as_str(), "limit_except" | "if")
}

/// Notes the outcome of each directive that no concern has handled.
pub(super) fn report(directives: &[Directive], output: &mut Output) {
    for directive in directives {
        // An included file that cannot be read has a note already.
        if !output.notes.is_spoken_for(directive) && directive.name != "include" {
            let (fate, why) = known(directive);
            output.notes.note(fate, directive, why.to_owned());
            if is_closed(directive) || fate == Fate::Lost {
                continue;
            }
        } else if is_closed(directive) {
            continue;
        }
        report(directive.inside(), output);
    }
}

fn known(directive: &Directive) -> (Fate, &'static str) {
    let name = directive.name.as_str();
    if name == "map" && directive.arg(0) == "$http_upgrade" {
        return (Fate::Needless, "WebSocket connections are passed through.");
    }
    if name == "location" && directive.arg(0).starts_with('@') {
        return (Fate::Lost, "Nothing leads to it that is carried over.");
    }
    if name == "server_name_in_redirect" && directive.arg(0) == "on" {
        let why = "Redirects to a path keep the host that the client asked for.";
        return (Fate::Differs, why);
    }
    // A feature that is off is not missed, and a usual value makes no difference.
    let is_usual = match of(name) {
        Some((_, Fate::Lost, _)) => directive.arg(0) == "off" && !name.starts_with("proxy_pass_"),
        Some((_, Fate::Differs, _)) => {
            directive.arg(0)
                == if name.starts_with("charset") {
                    "off"
                } else {
                    "on"
                }
        }
        _ => false,
    };
    if is_usual {
        return (Fate::Needless, "That is how it is here.");
    }
    match of(name) {
        Some((_, fate, why)) => (*fate, *why),
        None if TRANSLATED.contains(&name) => (Fate::Lost, "It is not carried over here."),
        None => (Fate::Lost, "geogate does not know this directive."),
    }
}
