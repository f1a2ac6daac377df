//! Directives that no concern has spoken for: those that geogate has no need of, those that it has
//! nothing like, and those that nobody knows.

use super::super::Output;
use super::super::notes::Fate;
use super::super::tree::Directive;

/// Of media types.
pub(super) const TYPES: &str =
    "Files have the types that are known by their names; `files.types` adds others.";

/// Names, or their beginnings if they end with `*`, and what is to be said of them. The first that
/// fits counts.
const KNOWN: [(&[&str], Fate, &str); 41] = [
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
        &[
            "types",
            "default_type",
            "types_hash*",
            "charset*",
            "override_charset",
            "source_charset",
        ],
        Fate::Needless,
        TYPES,
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
            "etag",
            "if_modified_since",
            "chunked_transfer_encoding",
            "keepalive_disable",
            "keepalive_time",
            "reset_timedout_connection",
            "lingering_*",
            "ignore_invalid_headers",
            "merge_slashes",
            "msie_*",
            "max_ranges",
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
            "proxy_pass_header",
            "proxy_pass_request_headers",
            "proxy_pass_request_body",
            "grpc_pass_header",
            "proxy_send_lowat",
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
        Fate::Needless,
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
        Fate::Lost,
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
        Fate::Lost,
        "Files that are compressed beforehand are not looked for.",
    ),
    (
        &["resolver", "resolver_timeout"],
        Fate::Needless,
        "Names are resolved by the system's resolvers, again and again; `resolver` of an upstream names others.",
    ),
    (
        &["proxy_redirect"],
        Fate::Needless,
        "Location is never rewritten.",
    ),
    (
        &["proxy_cookie_*"],
        Fate::Lost,
        "Cookies of upstreams are passed on as they are.",
    ),
    (
        &["proxy_intercept_errors"],
        Fate::Lost,
        "What an upstream answers is passed on.",
    ),
    (
        &["proxy_cache*", "proxy_store*", "proxy_no_cache", "slice"],
        Fate::Lost,
        "There is no cache.",
    ),
    (
        &["proxy_bind"],
        Fate::Lost,
        "The system chooses the address that peers are reached from.",
    ),
    (
        &["proxy_method", "proxy_set_body"],
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
            "error_page",
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
        Fate::Needless,
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
        "geogate computes no variables. What they are for are conditions of routes: `countries`, `headers`, `host`.",
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
        Fate::Lost,
        "Responses are as fast as the client takes them.",
    ),
    (
        &["satisfy"],
        Fate::Lost,
        "Everything that is asked of a client must hold.",
    ),
    (
        &["auth_basic*", "auth_request*", "auth_jwt*", "secure_link*"],
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
        &["fastcgi_*", "uwsgi_*", "scgi_*", "memcached_*"],
        Fate::Lost,
        "Upstreams speak HTTP.",
    ),
];

/// Blocks that hold data and no directives, or whose inside is of no use without them.
const CLOSED: [&str; 9] = [
    "types",
    "map",
    "geo",
    "split_clients",
    "match",
    "charset_map",
    "limit_except",
    "if",
    "geoip2",
];

/// Says of each directive that nobody has spoken for what is known of it.
pub(super) fn report(directives: &[Directive], output: &mut Output) {
    for directive in directives {
        if !output.notes.is_spoken_for(directive) {
            let (fate, why) = known(directive);
            output.notes.note(fate, directive, why.to_owned());
            if CLOSED.contains(&directive.name.as_str()) || fate == Fate::Lost {
                continue;
            }
        } else if CLOSED.contains(&directive.name.as_str()) {
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
    let fits = |pattern: &&str| match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(middle), Some(_)) => name.contains(middle.trim_start_matches('*')),
        (Some(beginning), None) => name.starts_with(beginning),
        _ => name == *pattern,
    };
    let found = KNOWN.iter().find(|(names, ..)| names.iter().any(fits));
    found.map_or(
        (Fate::Lost, "geogate does not know this directive."),
        |(_, fate, why)| (*fate, *why),
    )
}
