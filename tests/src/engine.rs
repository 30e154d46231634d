//! The container engine that tests use, and what its containers are made of.

use std::{env, fs, path::Path, process::Command, sync::OnceLock};

/// The image that tests make containers of: a shell and little more.
pub const IMAGE: &str = "circuit-test:shell";
/// What the shell can do.
const APPLETS: [&str; 14] =
    ["sh", "cat", "dd", "echo", "env", "ls", "mkdir", "nc", "nslookup", "pwd", "sed", "sleep", "true", "yes"];

/// Whether the machine's engine can be used; if not, the test has nothing to do.
/// Where there must be one (`CIRCUIT_REQUIRE_DOCKER`) that is a failure.
pub fn is_there() -> bool {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    match MADE.get_or_init(|| import("")) {
        Ok(()) => true,
        Err(why) => {
            assert!(env::var_os("CIRCUIT_REQUIRE_DOCKER").is_none(), "no container engine: {why}");
            eprintln!("skipped: no container engine to try this with: {why}");
            false
        }
    }
}

/// Makes the image, unless it is there, in the engine that `options` of the engine's command name.
///
/// # Errors
/// Why that cannot be done.
pub fn import(options: &str) -> Result<(), String> {
    if run(&format!("docker {options} image inspect {IMAGE}")).is_ok() {
        return Ok(());
    }
    let folder = tempfile::tempdir().expect("a folder");
    tar(folder.path())?;
    run(&format!("docker {options} import {} {IMAGE}", folder.path().join("tar").display()))
}

/// Puts the file system of the image into a file `tar` in the folder.
///
/// # Errors
/// Why that cannot be done.
pub fn tar(folder: &Path) -> Result<(), String> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("busybox is not installed (Debian: busybox-static)")?;
    let (bin, tmp) = (folder.join("root/bin"), folder.join("root/tmp"));
    fs::create_dir_all(&bin).and_then(|()| fs::create_dir_all(tmp)).expect("folders");
    fs::copy(busybox, bin.join("busybox")).expect("a copy");
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("a link");
    }
    run(&format!("tar -C {0}/root -cf {0}/tar .", folder.display()))
}

/// Runs a line of shell that must do well.
///
/// # Errors
/// What it said on standard error.
pub fn run(line: &str) -> Result<(), String> {
    let output = Command::new("/bin/sh").args(["-c", line]).output().expect("a shell");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
