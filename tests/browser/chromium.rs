//! A real Chromium behind a chromedriver of our own, and what a test asks of it. Both are gone when it is dropped.
//! Deliberately absent: pages; every test knows its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::http::Method;
use fantoccini::{
    Client, ClientBuilder, Locator,
    elements::Element,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::bench::processes_with;

/// Nothing takes as long, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);
/// The width of a small phone.
pub(crate) const PHONE: u32 = 360;
/// The width of a window on a desk.
pub(crate) const DESK: u32 = 1280;

/// A browser with a profile of its own.
pub(crate) struct Chromium {
    client: Client,
    driver: Child,
    profile: tempfile::TempDir,
}

/// What differs between the browsers of the tests.
#[derive(Default)]
pub(crate) struct Options {
    /// Pages may run no scripts.
    pub(crate) scriptless: bool,
    /// Certificates of a CA that the machine does not know are taken.
    pub(crate) any_certificate: bool,
}

/// A command of chromedriver that WebDriver has not.
#[derive(Debug)]
struct Extra {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extra {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // Chromium outlives its driver; its profile is ours alone.
        for pid in processes_with(&self.profile.path().display().to_string()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Chromium {
    /// Starts one; `None`, and said loudly, where there is none.
    pub(crate) async fn start(options: Options) -> Option<Self> {
        let Some(browser) = program("chromium") else {
            println!("SKIPPED: browser: chromium is not installed");
            return None;
        };
        let Some(driver) = program("chromedriver") else {
            println!("SKIPPED: browser: chromedriver is not installed (package chromium-driver)");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut driver =
            Command::new(driver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let port = port(&mut driver);
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        if options.any_certificate {
            args.push("--ignore-certificate-errors".to_owned());
        }
        let mut chrome = json!({ "binary": browser, "args": args });
        if options.scriptless {
            chrome["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), chrome);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        let chromium = Self { client, driver, profile };
        chromium.width(DESK).await;
        Some(chromium)
    }

    /// Opens an address.
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Where it is.
    pub(crate) async fn url(&self) -> Url {
        self.client.current_url().await.unwrap()
    }

    /// Opens a path of the site that it is at.
    pub(crate) async fn visit(&self, path: &str) {
        let url = self.url().await.join(path).unwrap();
        self.open(url.as_str()).await;
    }

    /// What a script gives, as if the page's own.
    pub(crate) async fn js(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The one element, at once or soon.
    pub(crate) async fn find(&self, css: &str) -> Element {
        self.until(&format!("there is {css}"), async || self.client.find(Locator::Css(css)).await.is_ok()).await;
        self.client.find(Locator::Css(css)).await.unwrap()
    }

    /// All elements that there are.
    pub(crate) async fn all(&self, css: &str) -> Vec<Element> {
        self.client.find_all(Locator::Css(css)).await.unwrap()
    }

    /// Presses the one element.
    pub(crate) async fn press(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Types into the one element.
    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        self.find(css).await.send_keys(text).await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Presses a key wherever the focus is.
    pub(crate) async fn key(&self, key: &str) {
        self.client.active_element().await.unwrap().send_keys(key).await.unwrap();
    }

    /// What a person reads on the page.
    pub(crate) async fn text(&self) -> String {
        let body = self.client.find(Locator::Css("body")).await;
        match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page says this.
    pub(crate) async fn until_says(&self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let page = self.text().await;
            if page.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "`{text}` never came to {}:\n{page}", self.url().await);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds().await {
            assert!(Instant::now() < deadline, "never: {what}, at {}:\n{}", self.url().await, self.text().await);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Shows pages so wide.
    pub(crate) async fn width(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == PHONE });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Shows pages `light` or `dark`.
    pub(crate) async fn scheme(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// What went wrong on pages since it was asked last: errors of scripts, of loading, of the security policy.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.extra("se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let bad = entries.iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Everything that this page loaded, by address.
    pub(crate) async fn loaded(&self) -> Vec<String> {
        let list = "return performance.getEntries().filter(e => 'initiatorType' in e).map(e => e.name)";
        serde_json::from_value(self.js(list).await).unwrap()
    }

    /// Keeps the whole page as a picture, for people to look at.
    pub(crate) async fn picture(&self, name: &str) {
        let dir = pictures();
        fs::create_dir_all(&dir).unwrap();
        let shot = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        fs::write(dir.join(format!("{name}.png")), decoded(shot["data"].as_str().unwrap())).unwrap();
    }

    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.extra("goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    async fn extra(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Extra { path, body }).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The port that the driver has chosen.
fn port(driver: &mut Child) -> u16 {
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    said.expect("chromedriver says its port")
}

fn pictures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/browser-screenshots")
}

/// Base64 of RFC 4648.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').map(value).collect();
    let word = |chunk: &[u8]| {
        chunk.iter().enumerate().fold(0_u32, |word, (at, bits)| word | u32::from(*bits) << (18 - 6 * at))
    };
    letters.chunks(4).flat_map(|chunk| word(chunk).to_be_bytes()[1..chunk.len()].to_vec()).collect()
}
