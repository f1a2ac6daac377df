//! Syslog targets in nginx's notation of `access_log` and `error_log`:
//! `server=127.0.0.1:514,facility=local7,tag=geogate,severity=info`.

use crate::config::model::{Syslog, SyslogServer};

/// Facilities of RFC 5424, 6.2.1, with nginx's names where they differ.
const FACILITIES: [(&str, u8); 25] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("intern", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("clock", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

const SEVERITIES: [(&str, u8); 10] = [
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("error", 3),
    ("err", 3),
    ("warn", 4),
    ("warning", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

/// Default port of syslog over UDP (RFC 5426).
const PORT: u16 = 514;

/// Maximum length of a tag in bytes (RFC 3164, 4.1.3).
const LONGEST_TAG: usize = 32;

/// Parses the settings after `syslog:`.
pub(super) fn syslog(text: &str) -> Result<Syslog, String> {
    let mut server = None;
    let mut syslog = Syslog {
        server: SyslogServer::Udp(String::new()),
        facility: 23,
        severity: 6,
        tag: "geogate".to_owned(),
        names_host: true,
    };
    for setting in text.split(',') {
        match setting.split_once('=') {
            Some(("server", address)) => server = Some(read_server(address)?),
            Some(("facility", name)) => syslog.facility = number(name, &FACILITIES)?,
            Some(("severity", name)) => syslog.severity = number(name, &SEVERITIES)?,
            Some(("tag", tag)) => syslog.tag = read_tag(tag)?,
            None if setting == "nohostname" => syslog.names_host = false,
            _ => {
                return Err(format!(
                    "{setting:?} is not server=, facility=, severity=, tag= or nohostname"
                ));
            }
        }
    }
    let missing = "a syslog target needs server=address or server=unix:path";
    syslog.server = server.ok_or(missing)?;
    Ok(syslog)
}

fn read_server(text: &str) -> Result<SyslogServer, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("a path is expected after unix:".to_owned())
        } else {
            Ok(SyslogServer::Unix(path.into()))
        };
    }
    let with_port = if text.contains(':') && !text.ends_with(']') {
        text.to_owned()
    } else {
        format!("{text}:{PORT}")
    };
    let is_address = with_port
        .rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|p| p > 0));
    if is_address {
        Ok(SyslogServer::Udp(with_port))
    } else {
        Err(format!(
            "{text:?} is not a server such as 127.0.0.1:514, [::1]:514 or unix:/dev/log"
        ))
    }
}

fn is_host(text: &str) -> bool {
    if let Some(address) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        address.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        !text.is_empty() && text.bytes().all(is_of_name)
    }
}

fn read_tag(text: &str) -> Result<String, String> {
    let is_of_tag = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
    if (1..=LONGEST_TAG).contains(&text.len()) && text.bytes().all(is_of_tag) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a tag of letters, digits and -._/"))
    }
}

fn number(name: &str, known: &[(&str, u8)]) -> Result<u8, String> {
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        format!("{name:?} is none of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, server: SyslogServer, facility: u8, severity: u8, tag: &str) {
        let expected = Syslog {
            server,
            facility,
            severity,
            tag: tag.to_owned(),
            names_host: !text.contains("nohostname"),
        };
        assert_eq!(syslog(text), Ok(expected), "{text}");
    }

    fn udp(text: &str) -> SyslogServer {
        SyslogServer::Udp(text.to_owned())
    }

    #[test]
    fn a_target_reads_as_in_nginx() {
        check("server=127.0.0.1", udp("127.0.0.1:514"), 23, 6, "geogate");
        check("server=[::1]", udp("[::1]:514"), 23, 6, "geogate");
        check("server=[::1]:12", udp("[::1]:12"), 23, 6, "geogate");
        check(
            "server=logs.example:12",
            udp("logs.example:12"),
            23,
            6,
            "geogate",
        );
        check(
            "server=unix:/dev/log,nohostname,facility=daemon,tag=edge,severity=error",
            SyslogServer::Unix("/dev/log".into()),
            3,
            3,
            "edge",
        );
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = syslog(text).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        check_error("", "\"\" is not server=");
        check_error("facility=user", "a syslog target needs server=");
        check_error("server=unix:", "a path is expected");
        for server in ["::1", "a b", "a:", "a:0", "a:65536", "[a]:1", ":1", ""] {
            check_error(
                &format!("server={server}"),
                &format!("{server:?} is not a server"),
            );
        }
        check_error("server=a,facility=local8", "\"local8\" is none of kern, ");
        check_error("server=a,severity=loud", "\"loud\" is none of emerg, ");
        check_error("server=a,tag=", "\"\" is not a tag");
        check_error("server=a,tag=a b", "\"a b\" is not a tag");
        check_error("server=a,color=red", "\"color=red\" is not server=");
    }
}
