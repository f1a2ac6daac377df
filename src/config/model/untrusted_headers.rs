//! Headers in which proxies, CDNs and authentication gateways identify the client.
//!
//! An application behind one of these trusts the headers, so any other client could use them to
//! forge an identity. They are deleted unless the connection's peer is a trusted proxy.

use super::HeaderNameSet;
use super::geo_headers::is_managed_name;

/// Names that are deleted by default. `conf/README.md` contains the same list.
pub const UNTRUSTED: [&str; 66] = [
    // Original URL, host and protocol of the request.
    "X-Forwarded-*",
    "X-Original-*",
    "X-Rewrite-URL",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Envoy-*",
    // CGI programs see it as the environment variable HTTP_PROXY.
    "Proxy",
    // Client certificates.
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Client-Cert*",
    "X-Client-Verify",
    "X-Client-DN",
    "SSL-Client-*",
    "X-SSL-*",
    "X-ARR-ClientCert",
    "X-Amzn-Mtls-*",
    // Authenticated users.
    "Remote-User",
    "Remote-Group",
    "Remote-Groups",
    "Remote-Name",
    "Remote-Email",
    "X-Remote-*",
    "X-Auth-Request-*",
    "X-Authenticated-*",
    "X-Authentik-*",
    "X-WebAuth-*",
    "X-Amzn-OIDC-*",
    "X-Goog-Authenticated-User-*",
    "X-MS-Client-Principal*",
    "X-Pomerium-*",
    "CF-Access-Authenticated-User-Email",
    "Tailscale-User-*",
    // Addresses of clients.
    "Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Client-Real-IP",
    "X-Real-*",
    "X-Originating-IP",
    "X-Source-IP",
    "Remote-Addr",
    "Remote-Host",
    "Remote-IP",
    "HTTP-Client-IP",
    "HTTP-X-Forwarded-For",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    "X-ProxyUser-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Pseudo-IPv4",
    "CF-Connecting-O2O",
    "CloudFront-Viewer-Address",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Appengine-*",
    "X-NF-Client-Connection-IP",
    "X-Vercel-Forwarded-For",
    "DO-Connecting-IP",
    "EO-Connecting-IP",
    "Ali-CDN-Real-IP",
    "CDN-Src-IP",
    "Incap-Client-IP",
    "X-Sucuri-ClientIP",
];

/// Headers that are deleted from requests unless the peer is a trusted proxy.
#[derive(Debug, Clone)]
pub struct UntrustedHeaders {
    deleted: HeaderNameSet,
    /// Exceptions, which are passed on unchanged.
    kept: HeaderNameSet,
}

impl UntrustedHeaders {
    /// Returns the default list plus `add` and minus `remove`. The headers that geogate sets itself
    /// are deleted in any case.
    ///
    /// # Errors
    /// If a pattern is neither a name nor a prefix.
    pub fn new<'n>(
        add: impl IntoIterator<Item = &'n str>,
        remove: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, String> {
        Ok(UntrustedHeaders {
            deleted: HeaderNameSet::new(UNTRUSTED.into_iter().chain(add))?,
            kept: HeaderNameSet::new(remove)?,
        })
    }

    /// Returns `true` if the header is deleted. Case and separators of the name are ignored.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.deleted.contains(name) && !self.kept.contains(name)
    }

    /// Checks a name or prefix that the configuration removes from the list.
    ///
    /// # Errors
    /// If it is not on the list, or is a header that geogate sets itself.
    pub fn check_removal(pattern: &str) -> Result<(), String> {
        // A sample name that matches the prefix.
        let name = pattern.replace('*', "x");
        if is_managed_name(&name) {
            return Err(format!(
                "{pattern:?} is a header that geogate itself sets, so clients cannot send it"
            ));
        }
        let known = UntrustedHeaders::default();
        if known.contains(&name) {
            Ok(())
        } else {
            Err(format!("{pattern:?} is not on the list in conf/README.md"))
        }
    }
}

impl Default for UntrustedHeaders {
    fn default() -> Self {
        UntrustedHeaders::new([], []).expect("the built-in names are names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_identity_are_known_in_every_spelling() {
        let headers = UntrustedHeaders::default();
        for name in [
            "x-forwarded-port",
            "X_Forwarded_Client_Cert",
            "x-forwarded-anything",
            "proxy",
            "X-Original-URL",
            "x_original_uri",
            "X-Rewrite-Url",
            "x-envoy-external-address",
            "x-envoy.original-path",
            "remote_user",
            "X-Remote-User",
            "x-remote-extra-scopes",
            "X-SSL-Client-Verify",
            "ssl_client_s_dn",
            "X-Client-Certificate",
            "Client_Cert",
            "client-cert-chain",
            "cf_connecting_ip",
            "True-Client-Ip",
            "X-Azure-ClientIP",
            "x-azure-client-ip",
            "x-appengine-user-ip",
            "cloudfront-viewer-address",
            "fly-client-ip",
        ] {
            assert!(headers.contains(name), "{name}");
        }
        for name in [
            "proxy-authorization",
            "x-forward",
            "x-request-id",
            "x-originality",
            "client",
            "clients-cert",
            "remote",
            "authorization",
            "cookie",
            "accept",
            "x-sslx",
            "cf-ray",
        ] {
            assert!(!headers.contains(name), "{name}");
        }
    }

    #[test]
    fn the_list_can_be_widened_and_narrowed() {
        let headers = UntrustedHeaders::new(
            ["X-User", "X-Team-*"],
            ["X-Forwarded-Port", "X-Envoy-*", "Proxy"],
        );
        let headers = headers.unwrap();
        for name in ["x_user", "x-team-lead", "x-forwarded-server", "x-client-ip"] {
            assert!(headers.contains(name), "{name}");
        }
        for name in ["x-forwarded-port", "x-envoy-decorator", "proxy", "x-team"] {
            assert!(!headers.contains(name), "{name}");
        }
    }

    #[test]
    fn only_what_is_on_the_list_can_be_taken_off_it() {
        for pattern in ["X-Forwarded-Port", "X-Envoy-*", "proxy", "X-Real-Name"] {
            assert_eq!(UntrustedHeaders::check_removal(pattern), Ok(()));
        }
        for (pattern, reason) in [
            ("X-Real-IP", "itself"),
            ("x_forwarded_for", "itself"),
            ("X-Geo-*", "itself"),
            ("X-User", "not on the list"),
            ("X-*", "not on the list"),
        ] {
            let said = UntrustedHeaders::check_removal(pattern).unwrap_err();
            assert!(said.contains(reason), "{said}");
        }
    }
}
