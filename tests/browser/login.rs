//! The dashboard of a cluster over TLS: a token is pasted, a page is seen, the token is revoked, and the browser is
//! out.

use std::fs;

use crate::{
    bench::{Running, World, until},
    chromium::{Chromium, DESK, Options, PHONE},
    loopback::own_address,
};

/// A Taskmaster that runs on TCP.
struct Cluster {
    world: World,
    address: String,
    _node: Running,
}

impl Cluster {
    fn start() -> Self {
        let world = World::bare();
        let (api, link) = (own_address(), own_address().to_string());
        let (ip, api) = (api.ip().to_string(), api.to_string());
        let (config, state) = (world.path("node.toml"), world.path("state"));
        let init =
            ["cluster", "init", "--name", "shop", "--advertise", &ip, "--api-listen", &api, "--link-listen", &link];
        let place = ["--config", config.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
        world.devstack(&[&init[..], &place[..]].concat()).expect(0);
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{text}\n[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\n")).unwrap();
        let node = world.spawn_node(&config);
        until("the node answers", || world.devstack(&["status"]).code == 0);
        Self { world, address: format!("https://{api}"), _node: node }
    }

    fn token(&self, name: &str, role: &str) -> String {
        let made = self.world.devstack(&["token", "create", "--role", role, "--name", name]).expect(0);
        made.stdout.trim().to_owned()
    }
}

#[tokio::test]
async fn a_token_lets_a_browser_in_until_it_is_revoked() {
    let Some(page) = Chromium::start(Options { any_certificate: true, ..Options::default() }).await else { return };
    let cluster = Cluster::start();
    let (ada, bob) = (cluster.token("ada", "operator"), cluster.token("bob", "viewer"));

    // Whoever comes to a page is asked first, and then led to it.
    page.open(&format!("{}/board?project=", cluster.address)).await;
    assert_eq!(page.url().await.path(), "/login");
    for (width, scheme, name) in
        [(DESK, "light", "login-light"), (DESK, "dark", "login-dark"), (PHONE, "light", "login-360")]
    {
        page.width(width).await;
        page.scheme(scheme).await;
        page.picture(name).await;
    }
    page.width(DESK).await;
    page.type_into("#token", "dst1.0000000000000000.00000000000000000000000000000000").await;
    page.press("main form button").await;
    page.until_says("unknown, expired or revoked").await;
    page.picture("login-refused").await;
    // That a person is refused is said on the console by Chromium, and no more.
    let complaints = page.complaints().await;
    assert!(complaints.iter().all(|said| said.contains("401")), "{complaints:#?}");

    page.type_into("#token", &ada).await;
    page.press("main form button").await;
    page.until("the page that was asked for", async || page.url().await.path() == "/board").await;
    page.until_says("ada").await;
    let seen = page.js("return document.cookie + document.documentElement.outerHTML").await;
    assert!(!seen.as_str().unwrap().contains(&ada[20..]), "the token is nowhere on the page");
    assert_eq!(page.js("return document.cookie").await, "", "scripts do not see the cookie");
    assert!(page.complaints().await.is_empty());

    cluster.world.devstack(&["token", "revoke", "ada"]).expect(0);
    page.visit("/tasks").await;
    assert_eq!(page.url().await.path(), "/login", "revoked is out");

    page.type_into("#token", &bob).await;
    page.press("main form button").await;
    page.until_says("bob").await;
    assert_eq!(page.url().await.path(), "/tasks");
    page.press("form[action='/logout'] button").await;
    page.until("the door", async || page.url().await.path() == "/login").await;
    page.visit("/").await;
    assert_eq!(page.url().await.path(), "/login", "logged out is out");
}
