//! The supervisor: takes the roles in, hands out their ends, and ends when one of them does.
//!
//! `bartizan FILE`, with the sockets `switchboard` and `status` from the service manager.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;

use bartizan::briefing::Briefing;
use bartizan::config::Config;
use bartizan::folder::{Folder, FolderError};
use bartizan::lockdown::missing;
use bartizan::network::{self, NetworkFolder};
use bartizan::release;
use bartizan::roots;
use bartizan::store::Store;
use bartizan::supervisor::Supervisor;
use bartizan::trial::Trial;
use bartizan::users::Users;
use bartizan_process::journal::{self, Level};
use bartizan_process::{Exit, Fault, Folders, Notifier, Watchdog, lock_down_supervisor};

mod inherited;
mod reception;
mod restart;

use inherited::Inherited;
use reception::{Reception, Site};

fn main() -> ExitCode {
    let Err(fault) = serve();
    journal::log(Level::Error, format_args!("{fault}"));
    fault.exit().into()
}

fn serve() -> Result<Infallible, Fault> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        return Err(Fault::new(Exit::Usage, "usage: bartizan FILE"));
    };
    if rustix::process::geteuid().is_root() {
        return Err(Fault::new(
            Exit::NoPerm,
            "the supervisor does not run as root",
        ));
    }
    let wrong = |error| Fault::because(Exit::Config, "configuration", error);
    let config = Config::read(Path::new(&file)).map_err(wrong)?;
    let roots = roots::read(&config.manufacturer)
        .map_err(|error| Fault::because(Exit::Config, "configuration", error))?;
    let unusable = |error| Fault::because(Exit::IoErr, "ownership", error);
    let store = Store::open(&config.state).map_err(unusable)?;
    let kept = store.read().map_err(unusable)?;
    let site = site(&config).map_err(unusable)?;
    let os_release = std::fs::read_to_string(release::FILE)
        .map_err(|error| Fault::because(Exit::OsErr, "cannot read os-release", error))?;
    let epoch = release::rollback_epoch(&os_release)
        .map_err(|error| Fault::because(Exit::Config, "os-release", error))?;
    let passwd = std::fs::read_to_string("/etc/passwd")
        .map_err(|error| Fault::because(Exit::OsErr, "cannot read /etc/passwd", error))?;
    let users = Users::from_passwd(&passwd)?;
    let inherited = Inherited::take()?;
    let notifier = Notifier::from_env()
        .map_err(|error| Fault::because(Exit::OsErr, "cannot reach the service manager", error))?;
    let watchdog = Watchdog::from_env(notifier);

    let folders = Folders {
        read: vec![
            config.discovery.media.clone(),
            config.discovery.leases.clone(),
            config.applied_network.clone(),
        ],
        write: vec![config.state.clone()],
    };
    let achieved = lock_down_supervisor(&folders)?;
    if let Some(missing) = missing(&config.required, false, &achieved) {
        let what = format!("the supervisor is not locked down as required: {missing}");
        return Err(Fault::new(Exit::NoPerm, what));
    }
    let supervisor = Supervisor::new(config.required, kept)
        .running(epoch)
        .judged(inherited.restart.is_some());
    let briefing = Briefing { config, roots };
    Reception::new(
        briefing, store, site, users, inherited, watchdog, supervisor,
    )
    .serve()
}

/// What earlier boots have found out about the site's network.
fn site(config: &Config) -> Result<Site, FolderError> {
    let path = config.state.join(network::FOLDER);
    // It may be there already; whether it can be used, the opening shows.
    drop(std::fs::create_dir(&path));
    let folder = NetworkFolder::new(Folder::open(&path)?, config.applied_network.clone());
    let trial = Trial::new(folder.settled()?, folder.refused()?);
    Ok(Site { folder, trial })
}
