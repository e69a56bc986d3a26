//! The files of the demo, in a folder of their own for as long as it runs: what a newcomer would have written. They go through the ordinary
//! loader, and may be changed while it runs.

use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::backends::Backend;

/// The zone's origin.
pub(super) const ORIGIN: &str = "demo.example";

/// Where the sites are.
const LOCATIONS: &str = "frankfurt = [50.11, 8.68]\nashburn   = [39.04, -77.49]\nsingapore = [1.35, 103.82]\n";

/// The database that is made from geo/demo.txt: it knows the networks of documentation.
const DATABASE: &[u8] = include_bytes!("../../../geo/demo.mmdb");

/// The folder. It goes away when this is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Writes everything but the settings.
    pub(super) fn write(backends: &[Backend]) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("windrose-demo-{:08x}", fastrand::u32(..)));
        // It must not be there yet, and only its owner may look in.
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self(path);
        for below in ["zones", "geo"] {
            fs::create_dir(folder.path(below))?;
        }
        fs::write(folder.path("geo/demo.mmdb"), DATABASE)?;
        fs::write(folder.path(&format!("zones/{ORIGIN}.toml")), zone(backends))?;
        Ok(folder)
    }

    /// Writes the settings, for a director on `listen` and an API on `control`.
    pub(super) fn write_settings(&self, listen: SocketAddr, control: SocketAddr) -> io::Result<()> {
        fs::write(self.config(), settings(listen, control))
    }

    /// Where a file of it is.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Its settings.
    pub(super) fn config(&self) -> PathBuf {
        self.path("windrose.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind harms nobody.
        let _ = fs::remove_dir_all::<&Path>(&self.0);
    }
}

fn settings(listen: SocketAddr, control: SocketAddr) -> String {
    format!(
        "[server]\nlisten = [\"{listen}\"]\n\n[geo]\ncity = \"geo/demo.mmdb\"\nasn  = \"geo/demo.mmdb\"\n\n[locations]\n{LOCATIONS}\n\
         [health]\nwarmup = \"800ms\"\n\n[control]\nsocket = \"windrose.sock\"\nlisten = \"{control}\"\n\n\
         [log]\nlevel = \"warn\"                            # verdicts are told by the demo itself\n"
    )
}

fn zone(backends: &[Backend]) -> String {
    let names: Vec<String> = backends.iter().map(|backend| format!("\"{}\"", backend.city)).collect();
    let mut text = format!(
        "# The zone of `windrose demo`.\n\n[records]\n\"@\".NS = \"ns1\"\nns1.A  = \"127.0.0.1\"\nwww.steer = \"near\"\n\n\
         # The nearest site whose probe passes. With none left, as if all were up.\n\
         [policies.near]\nchoose  = \"nearest\"\nmembers = [{}]\nttl     = \"5s\"\n",
        names.join(", ")
    );
    for Backend { city, address, .. } in backends {
        let _ = write!(
            text,
            "\n[pools.{city}]\nlocation = \"{city}\"\nprobe    = \"{city}\"\nbackends = [\"{}\"]\n\
             [probes.{city}]\nkind = \"http\"\nport = {}\npath = \"/healthz\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nrise = 2\nfall = 2\n",
            address.ip(),
            address.port()
        );
    }
    text
}
