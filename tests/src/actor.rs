//! One end of a test in a process of its own, whose memory can be looked at.
//! The `actor` binary plays the parts.

use std::{io, process::Stdio};

use circuit_core::{Url, session::ClusterKey};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// An actor that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: ChildStdin,
}

impl Actor {
    /// Starts the binary at `program` in a part; its key comes through its
    /// standard input.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn start(program: &str, part: &[&str], key: &ClusterKey) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(part).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut actor = Self { child, lines: BufReader::new(stdout).lines(), stdin };
        actor.stdin.write_all(format!("{}\n", key.to_text().as_str()).as_bytes()).await?;
        Ok(actor)
    }

    /// A server that joins another, if there is one, and its URL.
    ///
    /// # Errors
    /// Those of the operating system; the server did not start.
    pub async fn server(program: &str, key: &ClusterKey, join: Option<Url>) -> io::Result<(Self, Url)> {
        let join = join.map(|url| url.to_string());
        let part: Vec<&str> = ["server"].into_iter().chain(join.as_deref()).collect();
        let mut actor = Self::start(program, &part, key).await?;
        let url = actor.line().await?.parse();
        Ok((actor, url.map_err(|_| io::Error::other("the server printed no URL"))?))
    }

    /// The next line that it prints.
    ///
    /// # Errors
    /// It ended without another.
    pub async fn line(&mut self) -> io::Result<String> {
        self.lines.next_line().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The number of its process.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> io::Result<u32> {
        Ok(self.child.id().ok_or(io::ErrorKind::NotFound)?)
    }

    /// The most memory that it ever had, in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak(&self) -> io::Result<u64> {
        peak(&self.pid()?.to_string())
    }
}

/// The most memory that a process ever had, in bytes.
///
/// # Errors
/// It has ended.
pub fn peak(pid: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How many bytes a test should move: `CIRCUIT_TEST_BYTES`, or else a gibibyte
/// where the code was optimized and less where it was not.
pub fn bytes_to_move() -> u64 {
    let given = std::env::var("CIRCUIT_TEST_BYTES").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(if cfg!(debug_assertions) { 192 << 20 } else { 1 << 30 })
}

/// Bytes that are known from their offset, and that repeat only after 4 GiB:
/// `length` of them, from `offset` on; both are multiples of eight.
pub fn pattern(offset: u64, length: usize) -> Vec<u8> {
    (0..length as u64 / 8)
        .flat_map(|word| (offset / 8 + word).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

/// Checks that `bytes`, from `offset` on, are the [`pattern`]'s.
pub fn is_pattern(offset: u64, bytes: &[u8]) -> bool {
    let start = offset / 8 * 8;
    let skipped = usize::try_from(offset - start).unwrap_or(0);
    let wanted = pattern(start, (skipped + bytes.len()).next_multiple_of(8));
    wanted.get(skipped..skipped + bytes.len()) == Some(bytes)
}
