//! Which requests may pass: pure decisions on the head of a request.
//! Deliberately absent: sockets, and the owner of the connecting process.

use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, Method, StatusCode, Uri, header::HOST};

use devstack_gateway::browser;

/// The name of the one-time key in the address.
const KEY: &str = "key";

/// The guard of the proxy, with its secrets.
pub(crate) struct Door {
    port: u16,
    /// The cookie value of the authorized browser.
    secret: String,
    /// Authorizes one browser, once; then `None`.
    key: Mutex<Option<String>>,
}

/// The decision on a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Forward it to the node.
    Pass,
    /// Give the browser its cookie, and redirect it to an address without the key.
    Enter {
        /// `Set-Cookie`.
        cookie: String,
        /// `Location`.
        to: String,
    },
    /// Refuse it.
    Refuse(StatusCode, String),
}

impl Door {
    /// A new guard with new secrets.
    ///
    /// # Errors
    /// The machine provides no random numbers.
    pub(crate) fn new(port: u16) -> Result<Self, getrandom::Error> {
        Ok(Self { port, secret: browser::secret()?, key: Mutex::new(Some(browser::secret()?)) })
    }

    /// The one-time address for a browser.
    pub(crate) fn address(&self) -> String {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        format!("http://{}/?{KEY}={}", self.host("127.0.0.1"), key.as_deref().unwrap_or_default())
    }

    /// Decides on the head of a request.
    pub(super) fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        // With DNS rebinding, a foreign name leads to this machine, and the browser treats foreign pages as ours.
        if ![self.host("127.0.0.1"), self.host("localhost")].iter().any(|own| own == host) {
            return refuse(StatusCode::MISDIRECTED_REQUEST, "this server does not serve that host name");
        }
        if let (true, Some(key)) = (method == Method::GET, key_of(uri)) {
            let mut good = self.key.lock().unwrap_or_else(PoisonError::into_inner);
            if good.as_deref().is_some_and(|good| same(good, key)) {
                *good = None;
                let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie(), self.secret);
                return Verdict::Enter { cookie, to: "/".to_owned() };
            }
        }
        let shown = browser::cookie(headers, &self.cookie());
        if !shown.is_some_and(|shown| same(&self.secret, shown)) {
            let why = "this browser is not authorized: `devstack dashboard open` prints a one-time link for one\n\
            browser; stop that command and start it again to get a new link";
            return refuse(StatusCode::FORBIDDEN, why);
        }
        match browser::prove(method, uri.path(), headers, &format!("http://{host}")) {
            Ok(()) => Verdict::Pass,
            Err(why) => refuse(StatusCode::FORBIDDEN, &why.to_string()),
        }
    }

    /// The name of the cookie. Cookies ignore ports, so the name keeps two dashboards apart.
    fn cookie(&self) -> String {
        format!("devstack-{}", self.port)
    }

    fn host(&self, name: &str) -> String {
        // Browsers leave out the default port.
        if self.port == 80 { name.to_owned() } else { format!("{name}:{}", self.port) }
    }
}

fn refuse(status: StatusCode, why: &str) -> Verdict {
    Verdict::Refuse(status, why.to_owned())
}

fn key_of(uri: &Uri) -> Option<&str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == KEY).map(|(_, key)| key).next()
}

/// Compares hashes, so that the time does not depend on where the values differ.
fn same(secret: &str, shown: &str) -> bool {
    blake3::hash(secret.as_bytes()) == blake3::hash(shown.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 4321;
    const OWN: &str = "127.0.0.1:4321";

    struct Visit {
        method: Method,
        uri: String,
        headers: HeaderMap,
    }

    fn visit(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Visit {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Visit { method, uri: uri.to_owned(), headers }
    }

    impl Visit {
        fn at(&self, door: &Door) -> Result<Option<String>, u16> {
            match door.judge(&self.method, &self.uri.parse().unwrap(), &self.headers) {
                Verdict::Pass => Ok(None),
                Verdict::Enter { cookie, to } => {
                    assert_eq!(to, "/");
                    Ok(Some(cookie))
                }
                Verdict::Refuse(status, _) => Err(status.as_u16()),
            }
        }
    }

    /// A door with an authorized browser, and its cookie.
    fn entered() -> (Door, String) {
        let door = Door::new(PORT).unwrap();
        let address = door.address();
        let path = address.strip_prefix("http://127.0.0.1:4321").unwrap();
        let cookie = visit(Method::GET, path, &[("host", OWN)]).at(&door).unwrap().unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
        assert!(!cookie.contains(path.split_once('=').unwrap().1), "the key is not the cookie");
        let pair = cookie.split(';').next().unwrap().to_owned();
        (door, pair)
    }

    #[test]
    fn the_key_lets_one_browser_in_once() {
        let door = Door::new(PORT).unwrap();
        let address = door.address();
        let path = address.strip_prefix("http://127.0.0.1:4321").unwrap();
        for wrong in ["/", "/?key=", "/?key=0", "/?other=1"] {
            assert_eq!(visit(Method::GET, wrong, &[("host", OWN)]).at(&door), Err(403), "{wrong}");
        }
        assert_eq!(visit(Method::POST, path, &[("host", OWN)]).at(&door), Err(403));
        assert_eq!(visit(Method::GET, path, &[("host", "evil:4321")]).at(&door), Err(421), "it is not used up so");
        assert!(matches!(visit(Method::GET, path, &[("host", OWN)]).at(&door), Ok(Some(_))));
        assert_eq!(visit(Method::GET, path, &[("host", OWN)]).at(&door), Err(403));
        assert_eq!(visit(Method::GET, "/?key=", &[("host", OWN)]).at(&door), Err(403));
    }

    #[test]
    fn who_was_let_in_reads_everything_and_sends_forms() {
        let (door, cookie) = entered();
        for host in [OWN, "localhost:4321"] {
            let origin = format!("http://{host}");
            let get = [("host", host), ("cookie", &cookie)];
            for path in ["/", "/v1/facts", "/tasks/shop/a?x=1"] {
                assert_eq!(visit(Method::GET, path, &get).at(&door), Ok(None));
            }
            let post = [&get[..], &[("origin", &origin)]].concat();
            assert_eq!(visit(Method::POST, "/tasks/shop/a/retry", &post).at(&door), Ok(None));
            assert_eq!(visit(Method::POST, "/v1/tasks/shop/a/retry", &post).at(&door), Err(403), "for programs");
        }
    }

    #[test]
    fn nobody_else_is() {
        let (door, cookie) = entered();
        let refused = |method: &Method, headers: &[(&'static str, &str)]| {
            visit(method.clone(), "/tasks/shop/a/stop", headers).at(&door)
        };
        for method in [Method::GET, Method::POST] {
            assert_eq!(refused(&method, &[("host", OWN)]), Err(403));
            assert_eq!(refused(&method, &[("host", OWN), ("cookie", "devstack-4321=0")]), Err(403));
            assert_eq!(refused(&method, &[("host", OWN), ("cookie", "devstack-4322=0")]), Err(403));
            for host in ["evil.example:4321", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil:4321", "[::1]:4321", ""] {
                assert_eq!(refused(&method, &[("host", host), ("cookie", &cookie)]), Err(421), "{host}");
            }
            for origin in
                ["http://evil.example", "http://127.0.0.1:3000", "http://localhost:4321", "https://127.0.0.1:4321"]
            {
                let headers = [("host", OWN), ("cookie", &cookie), ("origin", origin)];
                assert_eq!(refused(&method, &headers), Err(403), "{origin}");
            }
        }
        assert_eq!(refused(&Method::POST, &[("host", OWN), ("cookie", &cookie)]), Err(403), "no proof");
    }
}
