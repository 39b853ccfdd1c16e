//! A person at a desk: a project with a node that runs, and a browser that is let in to it.

use url::Url;

use crate::{
    bench::{Plan, Running, World, until},
    chromium::{Chromium, Options},
};

/// All of it; ended when it is dropped.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) chromium: Chromium,
    _node: Running,
    _door: Running,
}

impl Desk {
    /// Starts everything, submits the plan, and opens the dashboard. `None`: there is no browser here.
    pub(crate) async fn open(options: Options, plan: impl FnOnce(&World) -> Plan) -> Option<Self> {
        let chromium = Chromium::start(options).await?;
        let world = World::with_repository().unsandboxed();
        world.plan(&plan(&world));
        world.commit_all("Plan");
        let node = world.spawn(&["up", "--runtime", "process", "--sandbox", "off", "--slots", "2"]);
        until("the node answers", || node.stderr().contains("a node answers"));
        world.devstack(&["plan", "submit", "devstack.toml"]).expect(0);
        let door = world.spawn(&["dashboard", "open", "--no-browser"]);
        until("the dashboard has an address", || door.stdout().ends_with('\n'));
        chromium.open(door.stdout().trim()).await;
        let at = chromium.url().await;
        assert!(at.path() == "/" && at.query().is_none(), "the key stays in no history: {at}");
        Some(Self { world, chromium, _node: node, _door: door })
    }

    /// Waits until a task has this status.
    pub(crate) fn until(&self, id: &str, status: &str) {
        until(&format!("{id} is {status}"), || self.world.status(id) == status);
    }

    /// Every page that the navigation leads to, then these of tasks.
    pub(crate) async fn pages(&self, of_tasks: &[&str]) -> Vec<String> {
        self.chromium.visit("/").await;
        let mut pages = Vec::new();
        for link in self.chromium.all("nav[aria-label=Pages] a").await {
            pages.push(link.attr("href").await.unwrap().unwrap());
        }
        assert!(pages.len() >= 3, "{pages:?}");
        pages.extend(of_tasks.iter().map(|below| format!("/tasks/shop/{below}")));
        pages
    }

    /// Nothing on the pages since the last look went wrong, and nothing came from elsewhere.
    pub(crate) async fn assert_quiet(&self) {
        let complaints = self.chromium.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
        let own = self.chromium.url().await;
        for address in self.chromium.loaded().await {
            let loaded = Url::parse(&address).unwrap();
            assert!(loaded.origin() == own.origin() || loaded.scheme() == "data", "{address} is of another site");
        }
    }
}
