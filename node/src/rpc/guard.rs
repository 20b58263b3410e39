//! Who may ask: on loopback, whoever is on this machine but no page in a browser; beyond it, who has the cookie.

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode, Uri,
        header::{AUTHORIZATION, HOST, ORIGIN},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::client::Cookie;

/// The check before every request.
#[derive(Debug, Clone)]
pub(super) enum Guard {
    /// Listening on loopback: no secret is needed, but the request must have been meant for this machine. A page
    /// whose name was pointed at 127.0.0.1 (DNS rebinding) carries its own name as the host, and pages that open a
    /// WebSocket here carry theirs as the origin.
    Local,
    /// Listening for others: the cookie is needed.
    Cookie(Cookie),
}

/// Answers what must not go on.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let refusal = match &guard {
        // Says nothing but that the process lives, which a connection that comes about says too.
        _ if request.uri().path() == "/health" => None,
        Guard::Local => refuse_foreign(request.headers(), request.uri()),
        Guard::Cookie(cookie) => refuse_without(request.headers(), cookie),
    };
    match refusal {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

type Refusal = (StatusCode, &'static str);

fn refuse_foreign(headers: &HeaderMap, uri: &Uri) -> Option<Refusal> {
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or_default()).or(uri.host());
    if !host.is_some_and(is_local) {
        return Some((
            StatusCode::FORBIDDEN,
            "the Host header must name this machine: localhost, 127.0.0.1 or [::1]\n",
        ));
    }
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let host_of = |origin: &str| origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(is_local)).unwrap_or(false);
    if origin.is_some_and(|origin| !host_of(origin)) {
        return Some((StatusCode::FORBIDDEN, "pages of other sites may not use this node\n"));
    }
    None
}

fn refuse_without(headers: &HeaderMap, cookie: &Cookie) -> Option<Refusal> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let allowed = given.is_some_and(|given| cookie.is(given.trim()));
    (!allowed).then_some((
        StatusCode::UNAUTHORIZED,
        "send the header `Authorization: Bearer` with the text of rpc.cookie in the node's data directory\n",
    ))
}

/// Whether a host, perhaps with a port, is this machine.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_are_told_from_others() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:8080"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "10.0.0.1", "[::2]:1"] {
            assert!(!is_local(host), "{host}");
        }
    }

    fn refused(headers: &[(axum::http::HeaderName, &str)]) -> Option<StatusCode> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        refuse_foreign(&headers, &Uri::from_static("/")).map(|refusal| refusal.0)
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        assert_eq!(refused(&[(HOST, "127.0.0.1:9")]), None);
        assert_eq!(refused(&[(HOST, "127.0.0.1:9"), (ORIGIN, "http://localhost:3000")]), None);
        assert_eq!(refused(&[]), Some(StatusCode::FORBIDDEN));
        assert_eq!(refused(&[(HOST, "evil.example")]), Some(StatusCode::FORBIDDEN));
        for origin in ["http://evil.example", "null", "file://"] {
            assert_eq!(refused(&[(HOST, "127.0.0.1:9"), (ORIGIN, origin)]), Some(StatusCode::FORBIDDEN), "{origin}");
        }
    }

    #[test]
    fn the_cookie_opens() {
        let cookie = Cookie::random().unwrap();
        let with = |value: String| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            refuse_without(&headers, &cookie).is_none()
        };
        assert!(with(format!("Bearer {}", cookie.text())));
        assert!(!with(format!("Basic {}", cookie.text())));
        assert!(!with("Bearer ".to_owned()));
        assert!(refuse_without(&HeaderMap::new(), &cookie).is_some());
    }
}
