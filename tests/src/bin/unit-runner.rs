//! Runs the appliance from its unit files: see `bartizan_tests::units`.
//!
//! ```text
//! unit-runner --units UNITS --bin-dir BINARIES --config CONFIG --folder FOLDER
//!             [--only UNIT]... [--bind SOURCE=TARGET]...
//! ```
//!
//! It runs in a mount namespace of its own, where FOLDER/run is `/run/bartizan`, the files of CONFIG are in
//! `/etc/bartizan`, CONFIG/state, which outlives the runner, is `/var/lib/bartizan`, the accounts of the sysusers file
//! in `/etc`, and each SOURCE takes the place of its TARGET, which is made if it is a folder that is not there. FOLDER
//! is on a tmpfs, and its parents can be entered by every user. FOLDER/journal gets what the services print, standard
//! output one event a line, as JSON. The services are stopped when standard input ends.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    ffi::CString,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use bartizan_tests::units::{
    accounts::Accounts,
    manager::{Manager, Setup},
    shim,
};
use rustix::mount::{MountFlags, mount, mount_bind};

/// The argument of the second step, in the mount namespace.
const INSIDE: &str = "--inside";

/// Where the supervisor reads its configuration, and all that it names.
const CONFIGURATION: &str = "/etc/bartizan";

/// Where the supervisor keeps ownership.
const STATE: &str = "/var/lib/bartizan";

/// Where services find their inboxes.
const INBOXES: &str = "/run/bartizan-notify";

struct Options {
    units: PathBuf,
    binaries: PathBuf,
    configuration: PathBuf,
    folder: PathBuf,
    only: Vec<String>,
    binds: Vec<(PathBuf, PathBuf)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(shim::ARGUMENT) => shim::exec(),
        Some(INSIDE) => run(&parse(&arguments[1..])?),
        _ => {
            parse(&arguments)?;
            let own = std::env::current_exe()?;
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "--"]);
            Err(command.arg(own).arg(INSIDE).args(&arguments).exec().into())
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let [run, inboxes, lib] = ["run", "inboxes", "lib"].map(|name| options.folder.join(name));
    let state = options.configuration.join("state");
    for folder in [&run, &inboxes, &lib, &state] {
        fs::create_dir_all(folder)?;
    }
    let accounts = Accounts::read(&options.units.join("bartizan.sysusers"))?;
    // A guest's own is read-only.
    mount_bind(&lib, "/var/lib")?;
    for (source, target) in [
        (&run, "/run/bartizan"),
        (&inboxes, INBOXES),
        (&state, STATE),
    ] {
        fs::create_dir_all(target)?;
        mount_bind(source, target)?;
    }
    let own = options.folder.join("own");
    make_writable(Path::new("/etc"), &own)?;
    fs::write("/etc/passwd", accounts.passwd())?;
    fs::write("/etc/group", accounts.group_file())?;
    fs::create_dir_all(CONFIGURATION)?;
    for entry in fs::read_dir(&options.configuration)? {
        let entry = entry?;
        if entry.path() == state {
            continue;
        }
        let file = Path::new(CONFIGURATION).join(entry.file_name());
        fs::copy(entry.path(), &file)?;
        fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    }
    for (source, target) in &options.binds {
        if !target.exists() {
            let mut above = target.ancestors().filter(|folder| folder.exists());
            make_writable(above.next().ok_or("no root folder")?, &own)?;
            fs::create_dir_all(target)?;
        }
        mount_bind(source, target)?;
    }
    let setup = Setup {
        units: options.units.clone(),
        binaries: options.binaries.clone(),
        inboxes: Path::new(INBOXES).to_owned(),
        journal: options.folder.join("journal"),
        only: options.only.clone(),
    };
    Ok(Manager::new(&setup, accounts)?.run()?)
}

/// Lays a folder of one's own, below `own`, over one that is the system's.
fn make_writable(folder: &Path, own: &Path) -> Result<(), Box<dyn Error>> {
    let [above, work] = ["above", "work"].map(|name| {
        let name = Path::new(name).join(folder.strip_prefix("/").unwrap_or(folder));
        own.join(name)
    });
    for folder in [&above, &work] {
        fs::create_dir_all(folder)?;
    }
    let layers = CString::new(format!(
        "lowerdir={},upperdir={},workdir={}",
        folder.display(),
        above.display(),
        work.display()
    ))?;
    mount(
        "overlay",
        folder,
        "overlay",
        MountFlags::empty(),
        layers.as_c_str(),
    )?;
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        units: PathBuf::new(),
        binaries: PathBuf::new(),
        configuration: PathBuf::new(),
        folder: PathBuf::new(),
        only: Vec::new(),
        binds: Vec::new(),
    };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("{} has no value", pair[0]).into());
        };
        match name.as_str() {
            "--units" => options.units = value.into(),
            "--bin-dir" => options.binaries = value.into(),
            "--config" => options.configuration = value.into(),
            "--folder" => options.folder = value.into(),
            "--only" => options.only.push(value.clone()),
            "--bind" => {
                let (source, target) = value.split_once('=').ok_or("--bind SOURCE=TARGET")?;
                options.binds.push((source.into(), target.into()));
            }
            _ => return Err(format!("no option {name}").into()),
        }
    }
    for (name, path) in [
        ("--units", &options.units),
        ("--bin-dir", &options.binaries),
        ("--config", &options.configuration),
        ("--folder", &options.folder),
    ] {
        if !path.is_absolute() {
            return Err(format!("{name} wants an absolute path").into());
        }
    }
    Ok(options)
}
