//! `dashboard`: opens the pages in the user's browser, or exports them to a file.
//! Deliberately absent: the pages (the node renders them), and who may reach them (the proxy decides).

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use devstack_cluster::files;

use super::Context;
use crate::{
    CliError, Exit, address,
    args::{DashboardCommand, Format},
    client::escape,
    interrupt::Interrupts,
    proxy::{Door, Proxy, Way},
};

/// The hint that `run` and `up` print on a terminal.
pub(super) const HINT: &str = "to watch in a browser, run `devstack dashboard open`";

/// The exported page contains no secrets, so others may read it.
const FILE_MODE: u32 = 0o644;

pub(super) async fn run(context: &Context<'_>, command: DashboardCommand) -> Result<Exit, CliError> {
    match command {
        DashboardCommand::Open { no_browser, port } => open(context, no_browser, port).await,
        DashboardCommand::Export { file, project } => export(context, &file, project.as_deref()).await,
    }
}

async fn open(context: &Context<'_>, no_browser: bool, port: u16) -> Result<Exit, CliError> {
    let mut interrupts = Interrupts::listen();
    let way = Way::new(address::target(&context.global, &std::env::current_dir()?)?, context.seams);
    // Report an unreachable node here instead of on a page.
    way.look().await?;
    let proxy = Proxy::bind(port).await?;
    let random = |error| CliError::failure(format!("the machine provides no random numbers: {error}"));
    let door = Arc::new(Door::new(proxy.port()).map_err(random)?);
    let url = door.address();
    context.output.data(&match context.output.format {
        Format::Table => url.clone(),
        Format::Json | Format::Jsonl => serde_json::json!({ "apiVersion": "v1", "url": url }).to_string(),
    });
    let opened = !no_browser && context.output.live() && browse(&url);
    let how = if opened { "opened in your browser" } else { "open this one-time link in a browser" };
    context.output.note(&format!("{how}; press Ctrl-C to stop"));
    tokio::select! {
        () = interrupts.next() => {}
        () = proxy.serve(door, way.clone()) => {}
        () = way.tend() => {}
    }
    way.close().await?;
    Ok(Exit::Interrupted)
}

/// Starts the desktop's browser, if there is a desktop.
fn browse(url: &str) -> bool {
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let start = || {
        let mut command = Command::new("xdg-open");
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    // xdg-open exits by itself, long before this process.
    desktop && start().is_ok()
}

async fn export(context: &Context<'_>, file: &Path, project: Option<&str>) -> Result<Exit, CliError> {
    let query = project.map(|project| format!("?project={}", escape(project))).unwrap_or_default();
    let session = context.session().await?;
    let page = session.client.get(&format!("/dashboard/export{query}")).await;
    session.close().await?;
    let page = page?;
    if file == Path::new("-") {
        context.output.raw(&page);
        return Ok(Exit::Ok);
    }
    let cannot = |error: std::io::Error| CliError::failure(format!("cannot write {}: {error}", file.display()));
    files::replace_as(file, &page, FILE_MODE).map_err(cannot)?;
    context.output.note(&format!("wrote {}", file.display()));
    Ok(Exit::Ok)
}
