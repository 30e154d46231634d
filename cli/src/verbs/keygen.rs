//! `circuit keygen`: a new key.

use std::{io, os::fd::AsFd, path::PathBuf};

use circuit_core::session::ClusterKey;
use circuit_tokio::{system_rng, write_key};
use clap::Args;
use rustix::fs::{FileType, Mode, fchmod, fstat};

use crate::{
    fault::{Fault, plain},
    print::{self, Format, FormatArgs},
};

/// Make a key for a circuit, and print it or write it to a new file
#[derive(Args, Debug)]
pub(crate) struct Keygen {
    /// A file that only you will be able to read; it must not be there yet
    file: Option<PathBuf>,

    #[command(flatten)]
    format: FormatArgs,
}

impl Keygen {
    pub(crate) fn run(self) -> Result<u8, Fault> {
        let failed = |error: io::Error| Fault::failed(format!("keygen: {}", plain(&error)));
        let key = ClusterKey::generate(&mut system_rng().map_err(failed)?);
        if let Some(file) = &self.file {
            let what = |error| Fault::failed(format!("keygen {}: {}", file.display(), plain(&error)));
            write_key(file, &key).map_err(what)?;
            return Ok(0);
        }
        make_private().map_err(failed)?;
        let text = key.to_text();
        match self.format.format {
            Format::Text => print::at_once(&format!("{}\n", text.as_str()))?,
            // Base64 needs no escapes.
            Format::Json => print::at_once(&format!("{{\"Key\":\"{}\"}}\n", text.as_str()))?,
        }
        Ok(0)
    }
}

/// Standard output, if it is a file, is made its owner's alone before a key is
/// written to it.
fn make_private() -> io::Result<()> {
    let stdout = io::stdout();
    let found = fstat(stdout.as_fd())?;
    if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        fchmod(stdout.as_fd(), Mode::RUSR | Mode::WUSR)?;
    }
    Ok(())
}
