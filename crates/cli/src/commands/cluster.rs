//! `cluster init` creates a cluster on this machine; `cluster status` shows one.
//! Deliberately absent: a running node. `init` writes files that the node reads when it starts.

use std::{
    fs, io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use devstack_cluster::{NodeName, files};
use serde_json::json;

use super::{Context, backup, restore};
use crate::{
    CliError, Exit, address,
    args::{ClusterCommand, InitArgs},
    client::parse,
    exit::code,
    table::Table,
};
use devstack_api::dto;
use devstack_config::{
    context::{self, Contexts},
    node::{self, NodeConfig},
    problem::Problem,
};
use devstack_members as members;
use devstack_members::{Members, MembersError, NewCluster, NewToken, Role};

/// The name of the first token.
const FIRST_TOKEN: &str = "admin";

pub(super) async fn run(context: &Context<'_>, command: ClusterCommand) -> Result<Exit, CliError> {
    match command {
        ClusterCommand::Init(args) => init(context, &args),
        ClusterCommand::Status => status(context).await,
        ClusterCommand::Backup(args) => backup::run(context, &args).await,
        ClusterCommand::Restore(args) => restore::run(context, args).await,
        ClusterCommand::Audit(args) => super::audit::run(context, args).await,
    }
}

/// The cluster that `init` created, or found.
struct Founded {
    members: Members,
    is_new: bool,
    config: NodeConfig,
    context: Option<PathBuf>,
}

fn init(context: &Context<'_>, args: &InitArgs) -> Result<Exit, CliError> {
    let founded = found(args)?;
    let registry = founded.members.present();
    let fingerprint = founded.members.fingerprint().to_string();
    let data = if context.output.for_people() {
        let mut lines = vec![
            match founded.is_new {
                true => format!("created cluster {}; its Taskmaster is {}", registry.cluster, registry.taskmaster),
                false => format!("cluster {} already exists; nothing was changed", registry.cluster),
            },
            format!("  fingerprint  {fingerprint}"),
            format!("  state        {}", founded.members.dir().display()),
            format!("  node         {}", args.config.display()),
        ];
        if let Some(file) = &founded.context {
            lines.push(format!("  your access  {} (role admin)", file.display()));
        }
        lines.push(next(&founded, args));
        lines.join("\n")
    } else {
        json!({
            "apiVersion": "v1", "cluster": registry.cluster, "taskmaster": registry.taskmaster.as_str(),
            "fingerprint": fingerprint, "created": founded.is_new, "config": args.config, "context": founded.context,
        })
        .to_string()
    };
    context.output.data(&data);
    Ok(Exit::Ok)
}

/// The next step for the user.
fn next(founded: &Founded, args: &InitArgs) -> String {
    if !founded.is_new {
        let socket = founded.config.socket.display();
        return format!("to get a new token, run: devstack --address unix://{socket} token create --role admin");
    }
    let missing = [("[api]", founded.config.api_listen.is_none()), ("[link]", founded.config.link.listen.is_none())];
    let missing: Vec<&str> = missing.into_iter().filter_map(|(section, is)| is.then_some(section)).collect();
    if missing.is_empty() {
        return "start or restart devstack-node, then run: devstack token create --role agent-host".to_owned();
    }
    format!("write `listen` into {} of {}, then restart devstack-node", missing.join(" and "), args.config.display())
}

fn found(args: &InitArgs) -> Result<Founded, CliError> {
    let (config, starter) = configuration(args)?;
    let known = Members::open(&config.state_dir).map_err(refused)?;
    let access = if known.is_none() { access(&args.name)? } else { None };
    // Write the configuration first: if this run fails, the next one finds the directory that it names.
    write_starter(&args.config, starter)?;
    if let Some(members) = known {
        return Ok(Founded { members, is_new: false, config, context: None });
    }
    let taskmaster = NodeName::new(config.name.as_str())
        .map_err(|error| CliError::usage(error.to_string()).hint("set another `name` in [node]"))?;
    let new = NewCluster {
        name: args.name.clone(),
        taskmaster,
        names: config.certificate_names(),
        certificate_life: args.certificate_life,
    };
    let now = now();
    let members = Members::create(&config.state_dir, &new, now).map_err(refused)?;
    let context = match access.zip(config.api_address()) {
        Some((access, address)) => {
            let (name, role) = (Some(FIRST_TOKEN.to_owned()), Role::Admin);
            let token = NewToken { name, role, life: role.default_life(), pins: None };
            let (bearer, _) = members.create_token(&token, now).map_err(refused)?;
            Some(access.write(&address, &bearer.reveal(), members.ca_pem())?)
        }
        // Users of the node's socket can create tokens there.
        None => None,
    };
    let cannot = |error: io::Error| CliError::failure(format!("cannot write {}: {error}", config.state_dir.display()));
    members::hand_over(&config.state_dir).map_err(cannot)?;
    Ok(Founded { members, is_new: true, config, context })
}

/// The node's configuration, and its text if the file must still be written.
fn configuration(args: &InitArgs) -> Result<(NodeConfig, Option<String>), CliError> {
    let valid_name = |name: &str| !name.trim().is_empty() && name.len() <= 64 && !name.chars().any(char::is_control);
    if !valid_name(&args.name) {
        return Err(CliError::usage("a cluster's name must have 1 to 64 bytes"));
    }
    if args.certificate_life.as_secs() == 0 {
        return Err(CliError::usage("certificates must be valid for at least one second"));
    }
    if args.config.exists() {
        let config = NodeConfig::load(&args.config)?;
        let differs = |what: &str| {
            CliError::usage(format!("{what} differs from the value in {}", args.config.display()))
                .hint("change the file, or leave out the flag")
        };
        if args.state_dir.as_ref().is_some_and(|dir| *dir != config.state_dir) {
            return Err(differs("the state directory"));
        }
        if args.advertise.as_ref().is_some_and(|host| Some(host) != config.link.advertise.as_ref()) {
            return Err(differs("`advertise`"));
        }
        if args.no_agents && config.roles.agent_host {
            return Err(differs("--no-agents (`roles`)"));
        }
        if !config.roles.taskmaster {
            let problem =
                Problem::new(code::USAGE, format!("{} does not configure a Taskmaster", args.config.display()));
            return Err(CliError::new(Exit::Refused, problem.hint("create the cluster on the Taskmaster's machine")));
        }
        return Ok((config, None));
    }
    let host = |text: &str| text.parse::<Ipv6Addr>().is_ok() || !(text.is_empty() || text.contains([':', '/', ' ']));
    if let Some(bad) = args.advertise.as_deref().filter(|text| !host(text)) {
        return Err(CliError::usage(format!("`{bad}` is not a host name or an address"))
            .hint("write it without a port; set ports with --api-listen and --link-listen"));
    }
    let state_dir = std::path::absolute(args.state_dir.as_deref().unwrap_or(Path::new(node::STATE_DIR)))?;
    let founder = node::Founder {
        name: &NodeConfig::embedded(&state_dir).name,
        state_dir: &state_dir,
        advertise: args.advertise.as_deref(),
        api: args.api_listen,
        link: args.link_listen,
        agents: !args.no_agents,
    };
    let text = founder.config();
    Ok((NodeConfig::parse(&args.config.display().to_string(), &text)?, Some(text)))
}

fn write_starter(path: &Path, text: Option<String>) -> Result<(), CliError> {
    let Some(text) = text else { return Ok(()) };
    let write = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Never overwrite a file that somebody created meanwhile. The file contains no secret.
        io::Write::write_all(&mut fs::File::create_new(path)?, text.as_bytes())
    };
    write().map_err(|error| CliError::failure(format!("cannot write {}: {error}", path.display())))
}

/// The user's directory of contexts, where the name of the new context is still free.
struct Access {
    dir: PathBuf,
    name: String,
    contexts: Contexts,
}

fn access(name: &str) -> Result<Option<Access>, CliError> {
    let Some(dir) = context::directory() else { return Ok(None) };
    let contexts = Contexts::load(&dir)?;
    if name == address::LOCAL {
        let message = format!("the context `{name}` always means the nearest `.devstack`, so it cannot name a cluster");
        return Err(CliError::usage(message).hint("choose another --name"));
    }
    if contexts.named(name).is_some() {
        let message = format!("the context `{name}` already exists in {}", context::file(&dir).display());
        return Err(CliError::usage(message).hint("choose another --name, or remove the context"));
    }
    Ok(Some(Access { dir, name: name.to_owned(), contexts }))
}

impl Access {
    /// Writes the token, the CA and the context; returns the file of contexts.
    fn write(self, address: &str, token: &str, ca_pem: &str) -> Result<PathBuf, CliError> {
        let stem: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let (token_file, ca_file) = (self.dir.join(format!("{stem}.token")), self.dir.join(format!("{stem}-ca.pem")));
        let context = context::Context {
            name: self.name,
            address: format!("https://{address}"),
            token_file: Some(token_file.clone()),
            ca_file: Some(ca_file.clone()),
        };
        let file = context::file(&self.dir);
        let write = || {
            files::private_dir(&self.dir)?;
            files::replace(&token_file, format!("{token}\n").as_bytes())?;
            files::replace(&ca_file, ca_pem.as_bytes())?;
            let text = match fs::read_to_string(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                read => read?,
            };
            files::replace(&file, context::with(&text, self.contexts.default.is_some(), &context).as_bytes())
        };
        write()
            .map_err(|error: io::Error| CliError::failure(format!("cannot write {}: {error}", self.dir.display())))?;
        Ok(file)
    }
}

async fn status(context: &Context<'_>) -> Result<Exit, CliError> {
    let page = |body: &[u8]| {
        let page = parse::<dto::ClusterPage>(body)?;
        let address = |address: &Option<String>| address.clone().unwrap_or_else(|| "not reachable".to_owned());
        let mut table = Table::new(&["MEMBER", "JOINED", "REMOVED", "CERTIFICATE UNTIL"]);
        for member in page.members {
            let removed = member.removed_at.map(|at| at.to_string()).unwrap_or_default();
            table.row([member.name, member.joined_at.to_string(), removed, member.certificate_expires_at.to_string()]);
        }
        Ok(format!(
            "{}\n  taskmaster   {}\n  api          {}\n  links        {}\n  fingerprint  {}\n\n{}",
            page.cluster,
            page.taskmaster,
            address(&page.api_address),
            address(&page.link_address),
            page.fingerprint,
            table.render(context.output)
        ))
    };
    context.show("/v1/cluster", page).await
}

fn refused(error: MembersError) -> CliError {
    CliError::failure(error.to_string())
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().try_into().unwrap_or(i64::MAX)
}
